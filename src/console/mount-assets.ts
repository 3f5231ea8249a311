/** The files of the pages, as routes, and the headers of every page. */
import type { Context, Hono } from 'hono';
import { assets, type Asset } from './assets.ts';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

export function pageHeaders(c: Context): void {
  c.header('content-security-policy', POLICY);
  c.header('cache-control', 'no-store');
}

export function mountAssets(app: Hono): void {
  const known = assets();
  app.get('/console/assets/:name', (c) => {
    const asset: Asset | undefined = known.get(c.req.param('name'));
    if (asset === undefined) return c.notFound();
    c.header('etag', asset.tag);
    c.header('cache-control', 'no-cache');
    if (c.req.header('if-none-match') === asset.tag) return c.body(null, 304);
    c.header('content-type', asset.type);
    return c.body(asset.text);
  });
}
