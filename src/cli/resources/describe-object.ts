import { findKind } from '../../api/kinds.ts';
import type { Condition } from '../../api/meta.ts';
import { isRecord } from '../../api/problem.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { shortDuration } from '../../base/short-duration.ts';
import type { KubeObject } from '../../kube/object.ts';
import { writeYaml } from '../yaml/write-yaml.ts';
import { eventCells, type CoreEvent } from './object-events.ts';
import { alignColumns } from './print-table.ts';

type Values = Readonly<Record<string, unknown>>;

/** One page about an object: what it is, what of it is so, and what happened to it. */
export function describeObject(object: KubeObject, events: readonly CoreEvent[], nowMs: number): string {
  const { spec, status = {} } = object as KubeObject & { readonly spec?: Values; readonly status?: Values };
  const isMachine = object.kind === 'VirtualMachine' && findKind(object.kind) !== undefined;
  const { conditions, ...rest } = status;
  return [
    head(object, nowMs),
    ...(isMachine ? machineSections(object as VirtualMachine, nowMs) : []),
    section('Spec', spec),
    ...(isMachine ? [] : [section('Status', rest)]),
    ...otherFields(object),
    conditionsSection(conditions as readonly Condition[] | undefined, nowMs),
    eventsSection(events, nowMs),
  ].join('');
}

function head(object: KubeObject, nowMs: number): string {
  const {
    name = '',
    namespace,
    labels,
    annotations,
    creationTimestamp,
    deletionTimestamp,
    finalizers,
    uid,
  } = object.metadata;
  const shown = Object.entries(annotations ?? {}).filter(([key]) => !key.startsWith('kubectl.kubernetes.io/'));
  return fields([
    ['Name', name],
    ['Namespace', namespace],
    ['Kind', `${object.kind} (${object.apiVersion})`],
    ['UID', uid],
    ['Labels', list(Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`))],
    ['Annotations', list(shown.map(([key, value]) => `${key}: ${oneLine(value)}`))],
    [
      'Created',
      typeof creationTimestamp !== 'string' ? undefined : `${creationTimestamp} (${ago(creationTimestamp, nowMs)} ago)`,
    ],
    [
      'Deleting',
      typeof deletionTimestamp !== 'string'
        ? undefined
        : `since ${deletionTimestamp} (${ago(deletionTimestamp, nowMs)})`,
    ],
    ['Finalizers', finalizers === undefined || finalizers.length === 0 ? undefined : finalizers.join(', ')],
  ]);
}

/** Labelled lines; a value of several lines continues below itself. A missing value is left out. */
function fields(rows: readonly (readonly [label: string, value: string | undefined])[]): string {
  const width = 17;
  return rows
    .filter((row): row is readonly [string, string] => row[1] !== undefined && row[1] !== '')
    .map(([label, value]) => `${`${label}:`.padEnd(width)}${value.replaceAll('\n', `\n${' '.repeat(width)}`)}\n`)
    .join('');
}

function list(lines: readonly string[]): string {
  return lines.length === 0 ? '<none>' : lines.join('\n');
}

function section(title: string, value: unknown): string {
  if (!isRecord(value) || Object.keys(value).length === 0) return '';
  return `${title}:\n${indent(writeYaml(withoutControls(value)))}`;
}

/** What kinds that are not ours have beside spec and status (a Secret's data is only counted). */
function otherFields(object: KubeObject): string[] {
  const { apiVersion: _, kind, metadata: __, spec: ___, status: ____, ...others } = object as KubeObject & Values;
  if (kind !== 'Secret') return [section('Data', others)];
  const keys = ['data', 'stringData'].flatMap((field) => Object.entries((others[field] ?? {}) as Values));
  const sizes = keys.map(([key, value]) => [key, `${Buffer.from(String(value), 'base64').length} bytes`]);
  return [`Data:\n${indent(alignColumns(sizes).text)}`];
}

function machineSections(machine: VirtualMachine, nowMs: number): string[] {
  const { spec, status = {} } = machine;
  const { domain } = status;
  const { memory, vcpu } = spec.domain ?? {};
  const booted = domain?.bootedAt;
  const pending = status.restartRequired ?? [];
  const isExplained = pending.some(({ message }) => message !== undefined);
  const ignored = status.ignored ?? [];
  const drift = status.drift ?? [];
  const isDriftExplained = drift.some(({ message }) => message !== undefined);
  return [
    fields([
      ['Status', [status.printableStatus, domain?.reason === undefined ? '' : `(${domain.reason})`].join(' ').trim()],
      ['Run Strategy', spec.runStrategy],
      ['Node', status.nodeName ?? spec.nodeName],
      [
        'Domain',
        domain === undefined
          ? undefined
          : [domain.name, domain.uuid, domain.id === undefined ? '' : `id ${domain.id}`].filter(Boolean).join(', '),
      ],
      ['Booted', booted === undefined ? undefined : `${booted} (${ago(booted, nowMs)} ago)`],
      ['Guest', [status.guest?.osName, status.guest?.hostname].filter(Boolean).join(', ')],
      ['CPUs', vcpu?.value === undefined ? undefined : String(vcpu.value)],
      ['Memory', memory?.value === undefined ? undefined : `${memory.value} ${memory.unit ?? 'KiB'}`],
      [
        'Last Stop',
        status.lastStop === undefined
          ? undefined
          : [status.lastStop.reason, status.lastStop.at, status.lastStop.message].filter(Boolean).join(', '),
      ],
      [
        'Failures',
        status.failures === undefined || status.failures.count === 0
          ? undefined
          : [
              `${status.failures.count} in a row`,
              status.failures.message,
              status.failures.nextAttemptAt === undefined ? '' : `next attempt ${status.failures.nextAttemptAt}`,
            ]
              .filter(Boolean)
              .join('; '),
      ],
    ]),
    tableSection(
      'Volumes',
      ['NAME', 'TARGET', 'PHASE', 'SOURCE', 'MESSAGE'],
      (status.volumes ?? []).map((one) => [one.name, one.target, one.phase, one.source, one.message]),
    ),
    tableSection(
      'Interfaces',
      ['NAME', 'MAC', 'IPS', 'SOURCE', 'DEVICE'],
      (status.interfaces ?? []).map((one) => [one.name, one.mac, one.ips?.join(','), one.source, one.device]),
    ),
    tableSection(
      'Graphics',
      ['TYPE', 'LISTEN', 'PORT'],
      (status.graphics ?? []).map((one) => [one.type, one.listen ?? one.socket, one.port?.toString()]),
    ),
    tableSection(
      'Takes effect at the next start',
      ['FIELD', 'NOW', 'THEN', ...(isExplained ? ['WHY'] : [])],
      pending.map((one) => [one.path, one.from, one.to, ...(isExplained ? [one.message] : [])]),
    ),
    tableSection(
      'Not kept by libvirt',
      ['FIELD', 'VALUE', 'WHY'],
      ignored.map((one) => [one.path, one.to, one.message]),
    ),
    tableSection(
      'Changed behind our back',
      ['FIELD', 'NOW', 'SPEC', ...(isDriftExplained ? ['WHY'] : [])],
      drift.map((one) => [one.path, one.from, one.to, ...(isDriftExplained ? [one.message] : [])]),
    ),
  ];
}

function tableSection(
  title: string,
  header: readonly string[],
  rows: readonly (readonly (string | undefined)[])[],
): string {
  if (rows.length === 0) return '';
  const lines = rows.map((row) => row.map((cell) => (cell === undefined || cell === '' ? '-' : oneLine(cell))));
  return `${title}:\n${indent(alignColumns([header, ...lines]).text)}`;
}

function conditionsSection(conditions: readonly Condition[] | undefined, nowMs: number): string {
  const rows = (conditions ?? []).map((one) => [
    one.type,
    one.status,
    one.reason,
    one.lastTransitionTime === undefined ? undefined : ago(one.lastTransitionTime, nowMs),
    one.message,
  ]);
  return tableSection('Conditions', ['TYPE', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'], rows);
}

function eventsSection(events: readonly CoreEvent[], nowMs: number): string {
  if (events.length === 0) return 'Events:          <none>\n';
  const rows = events.map((event) => {
    const [age = '', type = '', reason = '', , message = ''] = eventCells(event, nowMs);
    return [age, type, reason, event.reportingComponent ?? event.source?.component ?? '', message];
  });
  return tableSection('Events', ['AGE', 'TYPE', 'REASON', 'FROM', 'MESSAGE'], rows);
}

function ago(time: string, nowMs: number): string {
  return shortDuration(nowMs - Date.parse(time));
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  return text.trim().replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

/** Nothing that a server or guest said may steer the terminal; line breaks stay. */
function withoutControls(value: unknown): unknown {
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  if (typeof value === 'string') return value.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]+/g, ' ');
  if (Array.isArray(value)) return value.map(withoutControls);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutControls(member)]));
}
