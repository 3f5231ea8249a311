/** The pictures of docs/console: which page, in which looks, and after which clicks. */
import type { Page } from 'playwright-core';

export const LOOKS = {
  light: { colorScheme: 'light', viewport: { width: 1280, height: 860 } },
  dark: { colorScheme: 'dark', viewport: { width: 1280, height: 860 } },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 } },
} as const;

export type Look = keyof typeof LOOKS;

/** Ids that the pages need, taken from the deployment. */
export interface Subjects {
  readonly deadLetter: string;
  /** Position. */
  readonly event: string;
  readonly basket: string;
}

export interface Picture {
  readonly name: string;
  readonly looks: readonly Look[];
  readonly path: (subjects: Subjects) => string;
  /** Brings the page into the state to be shown. */
  readonly prepare?: (page: Page) => Promise<void>;
}

const ALL = ['light', 'dark', 'phone'] as const;

export const PICTURES: readonly Picture[] = [
  {
    name: 'flow',
    looks: ALL,
    path: () => '/',
    prepare: (page) => page.getByText('Live', { exact: true }).waitFor(),
  },
  { name: 'dead-letters', looks: ALL, path: () => '/console/dead/shipping' },
  {
    name: 'rehearsal',
    looks: ALL,
    path: ({ deadLetter }) => `/console/letter?id=${encodeURIComponent(deadLetter)}`,
    async prepare(page) {
      await page.locator('summary', { hasText: 'Rehearse' }).click();
      await page.getByRole('button', { name: /^Rehearse/ }).click();
      await page.getByRole('heading', { level: 1, name: 'Rehearsal' }).waitFor();
    },
  },
  {
    name: 'tree',
    looks: ALL,
    path: ({ event }) => `/console/event?where=${encodeURIComponent(event)}`,
  },
  {
    name: 'history',
    looks: ALL,
    path: ({ basket }) => `/console/history?category=basket&id=${basket}&view=baskets%401&at=9`,
  },
];
