/*
 * Additions to the console's HTML: newer content while a page is open, and copied commands. Every
 * page works without this file.
 */
const part = document.getElementById('part');

/** Elements that a person works in: newer content must not take them away. */
function inUse() {
  const active = document.activeElement;
  return (
    (active !== null && part.contains(active) && active !== part) ||
    part.querySelector('details[open]') !== null ||
    String(getSelection()) !== ''
  );
}

/** Parses HTML of this server. Scripts in it do not run. */
function replacePart(html) {
  const parsed = new DOMParser().parseFromString(html, 'text/html');
  part.replaceChildren(...parsed.body.childNodes);
  offerCopies(part);
}

function live(url) {
  const state = document.getElementById('live-state');
  const button = document.getElementById('live-pause');
  let source = null;
  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };
  const begin = () => {
    source = new EventSource(url);
    source.addEventListener('open', () => say('Live'));
    source.addEventListener('part', (event) => {
      say('Live');
      if (!inUse()) replacePart(JSON.parse(event.data));
    });
    source.addEventListener('problem', (event) => say(JSON.parse(event.data)));
    source.addEventListener('error', () => say('Not live: the server does not answer'));
    button.textContent = 'Pause';
  };
  const end = () => {
    source.close();
    source = null;
    say('Paused');
    button.textContent = 'Go on';
  };
  button.hidden = false;
  button.addEventListener('click', () => (source === null ? begin() : end()));
  // A page that nobody sees asks for nothing.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && source !== null) {
      source.close();
      source = null;
    } else if (!document.hidden && source === null && button.textContent === 'Pause') begin();
  });
  begin();
}

function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll('button.copy')) {
    button.hidden = false;
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = 'Copied';
    });
  }
}

/** Matches after which a search waits for a person. */
const ENOUGH = 200;

/**
 * Follows "Search on" by itself, page after page, until there is nothing left, enough was found, or
 * somebody cancels. Without this script each step is a click.
 */
function searchOn(results) {
  const link = results.querySelector('a[data-next]');
  if (link === null) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Search all';
  link.after(' ', button);
  let going = null;
  const stop = () => {
    going?.abort();
    going = null;
    button.textContent = 'Search all';
  };
  const step = async (signal) => {
    const answer = await fetch(link.href, { signal });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const found = page.getElementById('results');
    if (found === null) throw new Error('the search has failed: reload the page');
    const table = found.querySelector('.scroll');
    const body = results.querySelector('tbody');
    if (table !== null && body !== null) body.append(...table.querySelectorAll('tbody tr'));
    else if (table !== null) results.querySelector('.empty')?.replaceWith(table);
    results.querySelector('.muted').replaceWith(found.querySelector('.muted'));
    const next = found.querySelector('a[data-next]');
    if (next === null) link.parentElement.remove();
    else link.href = next.href;
    return next !== null && results.querySelectorAll('tbody tr').length < ENOUGH;
  };
  button.addEventListener('click', async () => {
    if (going !== null) return stop();
    going = new AbortController();
    const { signal } = going;
    button.textContent = 'Cancel';
    try {
      while (!signal.aborted && (await step(signal)));
    } catch (error) {
      if (!signal.aborted) results.querySelector('.muted').textContent = String(error.message);
    }
    stop();
  });
}

offerCopies(document);
if (part.dataset.live) live(part.dataset.live);
const results = document.getElementById('results');
if (results !== null) searchOn(results);
