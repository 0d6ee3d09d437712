/** What the running agent and switch say of themselves, as findings. Pure: their answers come in. */
import type { StatusAnswer } from '../../agent/protocol/answers.js';
import { shortDuration } from '../output.js';
import { error, type Finding, ok, warning } from './finding.js';

type Status = Omit<StatusAnswer, 'type' | 'id'>;

/** A watch that has heard nothing for so long is stale: several times what a quiet API server keeps a watch open. Seconds. */
const stale = 900;
const nearlyFull = 0.8;

/** `version`: of the command line. */
export function runningFindings(status: Status, version: string): readonly Finding[] {
  return [
    ok('agent', `pid ${status.pid}, up ${shortDuration(status.uptimeSeconds)}`),
    switchFinding(status),
    versionFinding(status, version),
    ...status.sources.map(sourceFinding),
    stateFinding(status),
    portsFinding(status),
    ...limitFindings(status),
    ...addressFindings(status),
    ...switchFacts(status),
    ...schedulingFindings(status),
    ...problemFindings(status),
  ];
}

function switchFinding(status: Status): Finding {
  if (!status.switchConnected)
    return error(
      'switch',
      'the agent has no connection to it',
      'look into its log; start weft-supervise, which starts `weft switch`: until it is there nothing flows',
    );
  const own = status.switch;
  if (own === undefined)
    return error(
      'switch',
      'it is connected and does not answer',
      'look into its log, and whether a core is free for it',
    );
  return ok(
    'switch',
    `pid ${own.pid}, up ${shortDuration(own.uptimeSeconds)}, ${own.starts} starts since boot`,
  );
}

function versionFinding(status: Status, version: string): Finding {
  const seen = `weft ${version}, agent ${status.version}, switch ${status.switch?.version ?? 'unknown'}`;
  const agree =
    status.version === version && (status.switch === undefined || status.switch.version === version);
  return agree
    ? ok('versions', seen)
    : warning('versions', seen, 'restart the older of agent and switch: an upgrade is not complete');
}

function sourceFinding(source: Status['sources'][number]): Finding {
  const check = `source-${source.name}`;
  if (!source.synced)
    return error(
      check,
      'it has not told everything yet, so nothing new is published',
      'see the problems below and the log of the agent',
    );
  const old = (source.watches ?? []).filter(
    ({ state, secondsSinceContact: age }) => state === 'away' || age === null || age > stale,
  );
  if (old.length > 0)
    return warning(
      check,
      `${old.map(({ resource, secondsSinceContact: age }) => `${resource} heard ${age === null ? 'never' : `${shortDuration(age)} ago`}`).join(', ')}; what was known stays in force`,
      'look whether the API server answers at kubernetes.server, and what the log of the agent says',
    );
  return ok(check, `${source.objects} objects`);
}

function stateFinding(status: Status): Finding {
  if (status.imageError !== undefined)
    return error(
      'state',
      `the switch refused the latest image: ${status.imageError}`,
      'the image before stays in force; mend what the switch names; after an upgrade agent and switch have to be of one version',
    );
  if (status.unready !== undefined)
    return error('state', status.unready, 'until then the last published state stays in force');
  if (status.revision !== status.acknowledged)
    return warning(
      'state',
      `revision ${status.revision} is on its way, ${status.acknowledged} in force`,
      'ask again; if it stays so, look into the log of the switch',
    );
  return ok('state', `revision ${status.acknowledged} in force`);
}

function portsFinding(status: Status): Finding {
  const ports = status.switch?.ports;
  if (ports === undefined)
    return warning('ports', 'the switch does not say', 'see the finding on the switch');
  return ports.failed === 0
    ? ok('ports', `${ports.live} live`)
    : error(
        'ports',
        `${ports.failed} of ${ports.live + ports.failed} are not up`,
        '`weft ports` names them and why',
      );
}

function limitFindings(status: Status): Finding[] {
  const full = status.limits.filter(({ used, most }) => used >= nearlyFull * most);
  if (full.length === 0) return [ok('limits', 'none is nearly reached')];
  return full.map(({ limit, used, most }) =>
    used >= most
      ? error('limits', `${limit}: ${used} of ${most}, nothing new gets in`, limitRemedy(limit))
      : warning('limits', `${limit}: ${used} of ${most}`, limitRemedy(limit)),
  );
}

function limitRemedy(limit: string): string {
  return limit === 'connections'
    ? 'raise switch.connections.capacity (restart), or find the pod that opens so many: `weft ports -o wide`'
    : `raise limits.${limit}`;
}

function addressFindings(status: Status): Finding[] {
  if (status.addresses.length === 0)
    return [
      warning(
        'addresses',
        'there is no pod CIDR yet',
        'set network.podCIDRs, or wait for spec.podCIDRs of the Node object',
      ),
    ];
  return status.addresses.map(({ cidr, used, total }) => {
    const seen = `${cidr}: ${used} of ${total} used`;
    if (used >= Number(total))
      return error('addresses', seen, 'no pod can start here: delete pods, or give the node a larger CIDR');
    return used >= nearlyFull * Number(total)
      ? warning('addresses', seen, 'the node is about to run out of addresses')
      : ok('addresses', seen);
  });
}

function switchFacts(status: Status): Finding[] {
  const own = status.switch;
  if (own === undefined) return [];
  return [
    own.supervised
      ? ok('supervisor', 'keeps the ports over a restart of the switch')
      : warning(
          'supervisor',
          'there is none: carriers drop when the switch restarts',
          'start the switch by weft-supervise',
        ),
    own.udpSegmentation
      ? ok('offloads', 'TCP and UDP segmentation')
      : ok('offloads', 'TCP segmentation; UDP segmentation needs Linux 6.2'),
  ];
}

function schedulingFindings(status: Status): Finding[] {
  const refused = [
    ...(status.scheduleRefused ?? []).map((reason) => ['agent', reason] as const),
    ...(status.switch?.scheduleRefused ?? []).map((reason) => ['switch', reason] as const),
  ];
  if (refused.length === 0) return [ok('scheduling', 'as configured')];
  return refused.map(([of, reason]) =>
    warning('scheduling', `${of}: ${reason}`, 'until then it competes with pods as any process'),
  );
}

function problemFindings(status: Status): Finding[] {
  return status.problems
    .filter(({ severity }) => severity !== 'info')
    .map(({ severity, code, message, fix }) =>
      (severity === 'error' ? error : warning)(
        'problem',
        `${code}: ${message}`,
        fix ?? '`weft status` has its place',
      ),
    );
}
