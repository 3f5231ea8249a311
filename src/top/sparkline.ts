const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

/**
 * Draws the last values as bars from 0 to the largest of them, one character each. A value above 0
 * is never drawn as 0, so that a trickle can be seen. An unknown value (null) is a space.
 * @param width characters of the result; missing values are spaces on the left
 */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const shown = width <= 0 ? [] : values.slice(-width);
  const most = Math.max(0, ...shown.map((value) => value ?? 0));
  const bars = shown.map((value) => {
    if (value === null) return ' ';
    if (value <= 0 || most <= 0) return BARS[0];
    return BARS[Math.min(BARS.length - 1, Math.max(1, Math.ceil((value / most) * 7)))] ?? BARS[0];
  });
  return bars.join('').padStart(Math.max(0, width));
}
