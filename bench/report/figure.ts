/** Figures as people read them: three significant digits, the unit scaled where a thousand of it has a name. */

/** `12.3`, `0.987`, `1,230`: three significant digits, all digits of whole numbers. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return String(value);
  if (size >= 100) return Math.round(value).toLocaleString('en-US');
  if (size >= 10) return value.toFixed(1);
  if (size >= 1 || size === 0) return value.toFixed(2);
  return value.toFixed(Math.min(6, 2 - Math.floor(Math.log10(size))));
}

/** A value with its unit: `540 k packets/s`, `28.1 Gbit/s`. */
export function figure(value: number, unit: string): string {
  if (unit.endsWith('/s') && unit !== 'Gbit/s') {
    if (Math.abs(value) >= 1e6) return `${digits(value / 1e6)} M ${unit}`;
    if (Math.abs(value) >= 1e4) return `${digits(value / 1e3)} k ${unit}`;
  }
  if (unit === 'us') return value >= 1000 ? `${digits(value / 1000)} ms` : `${digits(value)} µs`;
  return unit === '% of a core' ? `${digits(value)} % of a core` : `${digits(value)} ${unit}`;
}
