/** A run against contenders and workloads of the test's own. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Contender, Running } from '../../../bench/contenders/contender.js';
import { judgeProbe } from '../../../bench/enforcement.js';
import type { NodeMeasure } from '../../../bench/node-measure.js';
import { duration, Progress } from '../../../bench/progress.js';
import type { Settings } from '../../../bench/report/json.js';
import type { Selection } from '../../../bench/selection.js';
import { optionsOf } from '../../../bench/settings.js';
import { Suite } from '../../../bench/suite.js';
import type { Workload } from '../../../bench/workloads/workload.js';

class World {
  readonly standing = new Set<string>();
  readonly events: string[] = [];
  readonly written: string[] = [];
  readonly ending = new AbortController();

  contender(name: string, more: Partial<Contender> = {}): Contender {
    const running: Running & { name: string } = {
      name,
      client: { netns: `${name}-client`, ipv4: '10.0.0.1', ifname: 'eth0' },
      server: { netns: `${name}-server`, ipv4: '10.0.0.2', ifname: 'eth0' },
      processes: () => [],
      stop: async () => {
        if (this.standing.delete(name)) this.events.push(`end ${name}`);
      },
    };
    return {
      name,
      description: `What ${name} is.`,
      policies: 0,
      enforces: false,
      packages: [],
      unavailable: async () => null,
      start: async () => {
        this.standing.add(name);
        this.events.push(`start ${name}`);
        return running;
      },
      ...more,
    };
  }

  workload(name: string, value: (contender: string) => number, more: Partial<Workload> = {}): Workload {
    return {
      name,
      description: `What ${name} does.`,
      measures: [{ name: 'rate', unit: 'packets/s', better: 'higher' }],
      unsuited: () => null,
      sample: async (running) => {
        const contender = (running as Running & { name: string }).name;
        this.events.push(`${name} ${contender} of ${[...this.standing].sort()}`);
        return { rate: value(contender) };
      },
      ...more,
    };
  }

  nodeMeasure(name: string, more: Partial<NodeMeasure> = {}): NodeMeasure {
    return {
      name,
      description: `What ${name} is.`,
      measures: [{ name: 'pss', unit: 'MB', better: 'lower' }],
      subjects: ['weft'],
      packages: [],
      repeat: 'rounds',
      estimate: { start: 0, sample: 0 },
      unavailable: async () => null,
      start: async (subject) => {
        this.standing.add(`${subject} ${name}`);
        return {
          sample: async () => ({ pss: 100 + this.standing.size }),
          stop: async () => void this.standing.delete(`${subject} ${name}`),
        };
      },
      ...more,
    };
  }

  suite(
    contenders: readonly Contender[],
    workloads: readonly Workload[],
    nodeMeasures: readonly NodeMeasure[] = [],
    show: () => Promise<'denied' | 'no policies'> = async () => 'no policies',
  ): Suite {
    const settings: Settings = { scope: 'full', only: [], rounds: 2, seconds: 1, warmUpSeconds: 0.5 };
    let sites = 0;
    return new Suite({ contenders, workloads, nodeMeasures }, settings, {
      makeSite: (say) => ({ tag: `t${sites++}`, folder: '/nowhere', say }),
      show,
      progress: new Progress({ write: (text) => this.written.push(text) }, 10, () => 0),
      signal: this.ending.signal,
    });
  }
}

const pairs = (...names: readonly string[]): Selection['pairs'] =>
  names.map((name) => {
    const [of, workload] = name.split('/') as [string, string];
    return { of, workload };
  });

const selection = (more: Partial<Selection>): Selection => ({
  pairs: [],
  nodePairs: [],
  comparisons: [],
  ...more,
});

test('contenders stand together, take turns, and end', async () => {
  const world = new World();
  const suite = world.suite(
    [world.contender('a'), world.contender('b')],
    [world.workload('x', (name) => (name === 'a' ? 1 : 2))],
    [world.nodeMeasure('memory')],
  );
  const { samples, notRun, contenders, standing } = await suite.run(
    selection({ pairs: pairs('a/x', 'b/x'), nodePairs: pairs('weft/memory') }),
  );
  assert.deepEqual(notRun, []);
  assert.equal(world.standing.size, 0);
  assert.deepEqual(world.events, [
    'start a',
    'start b',
    'x a of a,b',
    'x b of a,b',
    'x b of a,b',
    'x a of a,b',
    'x b of a,b',
    'x a of a,b',
    'end a',
    'end b',
  ]);
  assert.deepEqual(
    samples.map(({ contender, workload, round, values }) => [contender, workload, round, values]),
    [
      ['a', 'x', 0, { rate: 1 }],
      ['b', 'x', 0, { rate: 2 }],
      ['b', 'x', 1, { rate: 2 }],
      ['a', 'x', 1, { rate: 1 }],
      ['b', 'x', 2, { rate: 2 }],
      ['a', 'x', 2, { rate: 1 }],
      // Nothing else stands while a node is measured.
      ['weft', 'memory', 0, { pss: 101 }],
      ['weft', 'memory', 1, { pss: 101 }],
      ['weft', 'memory', 2, { pss: 101 }],
    ],
  );
  assert.deepEqual(
    contenders.map(({ name, enforcement, notRun: why }) => [name, enforcement, why]),
    [
      ['a', 'no policies', null],
      ['b', 'no policies', null],
    ],
  );
  assert.ok(standing !== null && standing >= 0);
});

test('whatever cannot run is reported with its reason, and the others run', async () => {
  const world = new World();
  const all = [
    world.contender('good'),
    world.contender('lacking', { packages: ['weft-no-such-package'] }),
    world.contender('unavailable', { unavailable: async () => 'the kernel has no such module' }),
    world.contender('broken', { start: async () => Promise.reject(new Error('no space left')) }),
  ];
  const suite = world.suite(
    all,
    [
      world.workload('x', () => 1),
      world.workload('service', () => 1, { unsuited: () => 'it has no ClusterIP' }),
      world.workload('mute', () => 0),
    ],
    [world.nodeMeasure('closed', { unavailable: async () => 'no valgrind' })],
  );
  const { samples, notRun } = await suite.run(
    selection({
      pairs: pairs(
        ...[...all.map(({ name }) => name), 'unknown'].map((name) => `${name}/x`),
        'good/service',
        'good/mute',
        'good/nothing',
      ),
      nodePairs: pairs('weft/closed', 'weft/unknown-measure'),
    }),
  );
  assert.deepEqual(
    [
      ...new Set(
        samples.filter(({ values }) => values).map(({ contender, workload }) => `${contender}/${workload}`),
      ),
    ],
    ['good/x'],
  );
  const reasons = new Map(notRun.map(({ what, why }) => [what, why]));
  const lacking = reasons.get('lacking') ?? '';
  // Where there is no dpkg, nothing is known of packages.
  if (lacking !== '') assert.match(lacking, /weft-no-such-package/);
  reasons.delete('lacking');
  assert.deepEqual(
    [...reasons].sort(),
    [
      ['broken', 'no space left'],
      ['good/mute', 'given up after 2 failed rounds'],
      ['good/nothing', 'there is no workload of this name'],
      ['good/service', 'it has no ClusterIP'],
      ['unavailable', 'the kernel has no such module'],
      ['unknown', 'there is no contender of this name'],
      ['weft/closed', 'no valgrind'],
      ['weft/unknown-measure', 'there is no node measure of this name'],
    ].sort(),
  );
  assert.equal(world.standing.size, 0);
});

test('a contender that does not enforce is ended and not timed', async () => {
  const world = new World();
  const suite = world.suite(
    [world.contender('open', { enforces: true, policies: 10 })],
    [world.workload('x', () => 1)],
    [],
    async () => Promise.reject(new Error('does not enforce its policies: tcp 6666 answers')),
  );
  const { samples, notRun, contenders } = await suite.run(selection({ pairs: pairs('open/x') }));
  assert.deepEqual(samples, []);
  assert.deepEqual(notRun, [{ what: 'open', why: 'does not enforce its policies: tcp 6666 answers' }]);
  assert.equal(contenders[0]?.enforcement, null);
  assert.equal(world.standing.size, 0);
});

test('ended early, nothing stands, what was measured is there, and the rest is said', async () => {
  const world = new World();
  const suite = world.suite(
    [world.contender('a'), world.contender('b')],
    [
      world.workload('x', (name) => {
        if (name === 'b' && world.events.filter((event) => event.startsWith('x b')).length === 2)
          world.ending.abort();
        return 1;
      }),
      world.workload('y', () => 1),
    ],
    [world.nodeMeasure('memory')],
  );
  const { samples, notRun } = await suite.run(
    selection({ pairs: pairs('a/x', 'b/x', 'a/y', 'b/y'), nodePairs: pairs('weft/memory') }),
  );
  assert.equal(world.standing.size, 0);
  assert.deepEqual(
    samples.map(({ contender, workload, round }) => `${contender}/${workload} ${round}`),
    ['a/x 0', 'b/x 0', 'a/y 0', 'b/y 0'],
  );
  // Warm-ups are no measurement.
  assert.deepEqual(
    notRun.map(({ what, why }) => [what, why]),
    ['a/x', 'b/x', 'a/y', 'b/y', 'weft/memory'].map((what) => [what, 'the run ended before']),
  );
});

test('what answers decides about enforcement', () => {
  const answers = (allowed: boolean, denied: boolean) => ({
    'tcp 5000': allowed,
    'udp 5000': allowed,
    'tcp 6666': denied,
    'udp 6666': denied,
  });
  const policies = { enforces: true, policies: 10 };
  const open = { enforces: false, policies: 0 };
  assert.equal(judgeProbe(policies, answers(true, false)), 'denied');
  assert.equal(judgeProbe(open, answers(true, true)), 'no policies');
  assert.equal(judgeProbe({ enforces: true, policies: 0 }, answers(true, true)), 'no policies');
  for (const [contender, seen, words] of [
    [policies, answers(true, true), /does not enforce its policies: tcp 6666 answers,udp 6666 answers/],
    [policies, { ...answers(true, false), 'udp 6666': true }, /udp 6666 answers/],
    [policies, answers(false, false), /tcp 5000 does not answer/],
    [open, answers(true, false), /does not connect its pods: tcp 6666 does not answer/],
    [open, { 'tcp 5000': true }, /does not connect its pods/],
  ] as const)
    assert.throws(() => judgeProbe(contender, seen), words);
});

test('the command line', () => {
  const settings = (...argv: string[]) => {
    const options = optionsOf(argv);
    return typeof options === 'string' ? options : options.settings;
  };
  assert.deepEqual(settings(), { scope: 'full', only: [], rounds: 5, seconds: 1, warmUpSeconds: 0.5 });
  assert.deepEqual(settings('--quick', '--only', 'a b', '--only', 'c', '--rounds', '7'), {
    scope: 'quick',
    only: ['a b', 'c'],
    rounds: 7,
    seconds: 0.4,
    warmUpSeconds: 0.3,
  });
  assert.deepEqual(settings('--seconds', '0.2'), {
    scope: 'full',
    only: [],
    rounds: 5,
    seconds: 0.2,
    warmUpSeconds: 0.2,
  });
  for (const [argv, words] of [
    [['--quick', '--full'], /exclude/],
    [['--rounds', '0'], /--rounds '0'/],
    [['--rounds', '1.5'], /--rounds/],
    [['--seconds', 'x'], /--seconds 'x'/],
    [['--seconds', '0.01'], /--seconds/],
    [['--only', ' '], /--only/],
    [['--nope'], /nope/],
    [['stray'], /stray/],
  ] as const) {
    const options = optionsOf(argv);
    assert.equal(typeof options, 'string', argv.join(' '));
    assert.match(options as string, words);
  }
});

test('progress: the time left follows the pace, and a log is not flooded', () => {
  let now = 0;
  const written: string[] = [];
  const progress = new Progress({ write: (text) => written.push(text) }, 100, () => now);
  assert.equal(progress.left, 100);
  now = 100_000;
  progress.advance(50);
  // 50 s of estimate took 100 s: the other 50 will take almost as long.
  assert.ok(progress.left > 85 && progress.left <= 100, String(progress.left));
  progress.step('a');
  progress.step('b');
  now += 6000;
  progress.step('c');
  progress.note('read this');
  assert.deepEqual(
    written.map((text) => text.replace(/;.*/, ';…')),
    ['bench: a;…\n', 'bench: c;…\n', 'bench: read this\n'],
  );
  progress.advance(500);
  assert.equal(progress.left, 0);
  assert.equal(duration(59.4), '59 s');
  assert.equal(duration(250), '4 min 10 s');
});

test('progress: on a terminal one line is rewritten and never wraps', () => {
  const written: string[] = [];
  const output = { isTTY: true, columns: 30, write: (text: string) => written.push(text) };
  const progress = new Progress(output, 100, () => 0);
  progress.step('a step that has a good many words to say');
  progress.note('stays');
  progress.end();
  assert.deepEqual(written, ['\r\x1b[Kbench: a step that has a good', '\r\x1b[Kbench: stays\n', '\r\x1b[K']);
});
