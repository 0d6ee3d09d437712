/** What workloads read: the line that the load generator prints, where cgroups are, and weights as a kubelet writes them. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { cpuController, weightOf } from '../../../bench/workloads/pod-cgroups.js';
import { parseTraffic, pick } from '../../../bench/workloads/traffic.js';

test('a line of numbers is read, and its rate has to be more than nothing', () => {
  assert.deepEqual(parseTraffic('{"rate":12.5,"p50":3}\n'), { rate: 12.5, p50: 3 });
  for (const [line, said] of [
    ['', /printed no JSON/],
    ['{"rate":1', /printed no JSON/],
    ['[1]', /printed no object/],
    ['null', /printed no object/],
    ['{"rate":"1"}', /printed rate = "1", which is no number/],
    ['{"rate":1,"p50":null}', /printed p50 = null/],
    ['{"p50":1}', /measured nothing/],
    ['{"rate":0}', /measured nothing/],
  ] as const)
    assert.throws(() => parseTraffic(line), said, line);
});

test('a measure that was not printed is an error that names it', () => {
  assert.deepEqual(pick({ rate: 1, p50: 2, sent: 3 }, ['rate', 'p50']), { rate: 1, p50: 2 });
  assert.throws(() => pick({ rate: 1 }, ['p99']), /printed no p99/);
});

test('processor cgroups are found in either version, and version 1 first where both are mounted', () => {
  const first = 'cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0';
  const sets = 'cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0';
  const second = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0';
  const cases = [
    [[sets, first, second], true, { root: '/sys/fs/cgroup/cpu,cpuacct', version: 1 }],
    [[second, first], true, { root: '/sys/fs/cgroup/cpu,cpuacct', version: 1 }],
    [[sets, second], true, { root: '/sys/fs/cgroup', version: 2 }],
    [[sets, second], false, null],
    [[sets], true, null],
    [['proc /proc proc rw 0 0', ''], true, null],
  ] as const;
  for (const [lines, hasCpu, expected] of cases)
    assert.deepEqual(
      cpuController(lines.join('\n'), () => hasCpu),
      expected,
    );
});

test('a request becomes the weight that the kubelet gives it', () => {
  // Shares by the kubelet's MilliCPUToShares; weights by KEP 2254's formula.
  for (const [milli, shares, weight] of [
    [0, 2, 1],
    [100, 102, 4],
    [250, 256, 10],
    [1000, 1024, 39],
    [2000, 2048, 79],
  ] as const) {
    assert.equal(weightOf(milli, 1), shares);
    assert.equal(weightOf(milli, 2), weight);
  }
});
