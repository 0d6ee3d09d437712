/** How patiently a server is listed and watched. */

/** Milliseconds, but for counts. Tests shorten them. */
export interface ReflectorSettings {
  /** Objects of a page. */
  readonly page: number;
  /** Bytes of a page, and of an event. */
  readonly longestPage: number;
  readonly longestEvent: number;
  /** For the next byte of a page, and for the beginning of a watch; a whole page may take ten times as long. */
  readonly patience: number;
  /** What the server is asked to end a watch after: this to twice this, so that streams do not all end at once. */
  readonly watchTime: number;
  /** Of silence on a stream that has brought bookmarks before; a server sends them about every minute. */
  readonly silence: number;
  readonly firstPause: number;
  readonly longestPause: number;
  /** A stream that lived so long was well. */
  readonly healthy: number;
}

export const defaultSettings: ReflectorSettings = {
  page: 500,
  longestPage: 64 << 20,
  longestEvent: 8 << 20,
  patience: 30_000,
  watchTime: 240_000,
  silence: 150_000,
  firstPause: 250,
  longestPause: 10_000,
  healthy: 5000,
};
