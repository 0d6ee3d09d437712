/** Figures as people read them: three significant digits, the unit scaled where a thousand of it has a name. */
import type { Estimate } from '../statistics.js';

/** `12.3`, `0.987`, `1,230`: three significant digits, all digits of whole numbers. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return String(value);
  if (size >= 99.95) return Math.round(value).toLocaleString('en-US');
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.9995 || size === 0) return value.toFixed(2);
  return value.toFixed(Math.min(6, 2 - Math.floor(Math.log10(size))));
}

interface Scale {
  readonly factor: number;
  readonly unit: string;
}

/** The scale in which a value of about this size reads best: `540 k packets/s` instead of `540,123 packets/s`. */
export function scaleOf(value: number, unit: string): Scale {
  const size = Math.abs(value);
  if (unit.endsWith('/s') && unit !== 'Gbit/s') {
    if (size >= 1e6) return { factor: 1e6, unit: `M ${unit}` };
    if (size >= 1e4) return { factor: 1e3, unit: `k ${unit}` };
  }
  if (unit === 'us') return size >= 1000 ? { factor: 1000, unit: 'ms' } : { factor: 1, unit: 'µs' };
  return { factor: 1, unit };
}

/** A value with its unit: `540 k packets/s`, `28.1 Gbit/s`. */
export function figure(value: number, unit: string): string {
  const scale = scaleOf(value, unit);
  return `${digits(value / scale.factor)} ${scale.unit}`;
}

/** Both bounds in the scale of the value: `530–552`. */
export function bounds({ value, low, high }: Estimate, unit: string): string {
  const { factor } = scaleOf(value, unit);
  return `${digits(low / factor)}–${digits(high / factor)}`;
}
