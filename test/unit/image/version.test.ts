/**
 * Agent and switch of two versions meet during every upgrade. What keeps one from reading the other's image as something else is the format
 * version, so a layout that changes without it fails here.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { addressFlags, formatVersion, header, sectionEntry, sections } from '../../../src/image/layout.js';

/** What each version was, as far as bytes tell: types, sizes and order of everything, and the values of flags; not what it is called. */
const recorded: Readonly<Record<number, string>> = {
  1: '3b7ba9ad87b03793',
};

test('the layout is the one of its format version', () => {
  const shape = [header, sectionEntry, ...Object.values(sections)].map(({ size, fields }) => [
    size,
    fields.map(({ type, offset }) => [type, offset]),
  ]);
  const digest = createHash('sha256')
    .update(JSON.stringify([shape, Object.values(addressFlags)]))
    .digest('hex')
    .slice(0, 16);
  assert.equal(
    recorded[formatVersion],
    digest,
    `The layout is another than that of version ${formatVersion}: raise formatVersion and record ${digest} for it. Agents and switches of the versions before then refuse each other's images, and what was in force stays in force.`,
  );
});
