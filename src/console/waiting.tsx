/** The page of a process that has not reached Redis yet: what it tries, and how to find out why. */
import type { RouteGroup } from '../admin/route-group.ts';
import { mountAssets, pageHeaders } from './mount-assets.ts';
import { Frame, rootOf } from './page.tsx';
import { Command, State } from './parts.tsx';
import { text } from './page-figures.ts';

/** @param trouble the latest failure. Null: none is known yet */
export function waitingRoutes(trouble: () => string | null): RouteGroup {
  return {
    prefixes: ['/', '/console'],
    access: 'open',
    mount(app) {
      mountAssets(app);
      for (const path of ['/', '/console', '/console/*'])
        app.get(path, (c) => {
          const known = trouble();
          const page = (
            <Frame
              root={rootOf(c.req.path)}
              at="none"
              title="Redis does not answer"
              deployment=""
              live={false}
              footer="The console opens by itself once Redis answers: reload this page"
            >
              <p>
                <State tone="bad">This process has not reached Redis since it started</State>
              </p>
              {known === null ? null : <p>{text(known, 2000)}</p>}
              <p>REDIS_URL names the server. The command below tries each step of the way to it.</p>
              <Command line="millrace doctor" />
            </Frame>
          );
          pageHeaders(c);
          c.header('retry-after', '2');
          return c.html(`<!doctype html>${String(page)}`, 503);
        });
    },
  };
}
