import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelsOf } from '../../../src/model/labels.js';
import {
  describeSelector,
  everything,
  matches,
  type Operator,
  selector,
} from '../../../src/model/selector.js';

type Expression = readonly [key: string, operator: Operator, ...values: string[]];

const verdicts: readonly (readonly [
  labels: Readonly<Record<string, string>>,
  matchLabels: Readonly<Record<string, string>>,
  expressions: readonly Expression[],
  holds: boolean,
])[] = [
  [{}, {}, [], true],
  [{ app: 'web' }, { app: 'web' }, [], true],
  [{ app: 'web' }, { app: 'db' }, [], false],
  [{}, { app: '' }, [], false],
  [{ app: '' }, { app: '' }, [], true],
  [{ app: 'web' }, {}, [['app', 'In', 'db', 'web']], true],
  [{}, {}, [['app', 'In', 'db']], false],
  [{ app: 'web' }, {}, [['app', 'NotIn', 'db']], true],
  [{ app: 'db' }, {}, [['app', 'NotIn', 'db']], false],
  [{}, {}, [['app', 'NotIn', 'db']], true],
  [{ app: '' }, {}, [['app', 'Exists']], true],
  [{}, {}, [['app', 'Exists']], false],
  [{}, {}, [['app', 'DoesNotExist']], true],
  [{ app: '' }, {}, [['app', 'DoesNotExist']], false],
  [{ app: 'web', tier: 'x' }, { app: 'web' }, [['tier', 'NotIn', 'x']], false],
  [{}, {}, [['__proto__', 'DoesNotExist']], true],
];

test('matchLabels and matchExpressions must all hold; NotIn and DoesNotExist hold without the key (21)', () => {
  for (const [labels, matchLabels, expressions, holds] of verdicts) {
    const made = selector(
      matchLabels,
      expressions.map(([key, operator, ...values]) => ({ key, operator, values })),
    );
    assert.equal(
      matches(made, labelsOf(labels)),
      holds,
      `${describeSelector(made)} on ${JSON.stringify(labels)}`,
    );
  }
});

test('selectors that say the same are equal in text, however they are written', () => {
  const a = selector({ b: '2', a: '1' }, [{ key: 'c', operator: 'In', values: ['y', 'x', 'x'] }]);
  const b = selector({ a: '1' }, [
    { key: 'c', operator: 'In', values: ['x', 'y'] },
    { key: 'b', operator: 'In', values: ['2'] },
  ]);
  assert.equal(a.text, b.text);
  assert.notEqual(a.text, selector({ a: '1' }).text);
  assert.equal(everything.text, selector().text);
});

test('values cannot be mistaken for structure', () => {
  const odd = selector({ a: 'x","y' });
  const list = selector({}, [{ key: 'a', operator: 'In', values: ['x', 'y'] }]);
  assert.notEqual(odd.text, list.text);
});
