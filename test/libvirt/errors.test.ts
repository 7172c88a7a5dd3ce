import { describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/base/exit-code.ts';
import { ErrorNumber } from '../../src/libvirt/constants.gen.ts';
import * as errors from '../../src/libvirt/errors.ts';

const { LibvirtError } = errors;

function make(code: number, message = 'x'): errors.LibvirtError {
  const rest = { domain: 10, level: 2, str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  return new LibvirtError('domainCreate', { code, message, ...rest });
}

const predicates = Object.entries(errors).filter(([name]) => name.startsWith('is')) as [
  string,
  (error: unknown) => boolean,
][];

describe("libvirt's errors", () => {
  it.each([
    [ErrorNumber.NO_DOMAIN, 'Domain not found', ['isDomainMissing', 'isNotFound'], ExitCode.NotFound],
    [ErrorNumber.NO_STORAGE_VOL, 'Storage volume not found', ['isNotFound'], ExitCode.NotFound],
    [ErrorNumber.DOM_EXIST, 'exists', ['isAlreadyExists'], ExitCode.Conflict],
    [ErrorNumber.OPERATION_FAILED, "domain 'a' already exists with uuid b", ['isAlreadyExists'], ExitCode.Conflict],
    [ErrorNumber.OPERATION_FAILED, 'disk on fire', [], ExitCode.Failed],
    [
      ErrorNumber.OPERATION_INVALID,
      'Requested operation is not valid: domain is already running',
      ['isAlreadyRunning', 'isInvalidState'],
      ExitCode.Failed,
    ],
    [
      ErrorNumber.OPERATION_INVALID,
      'Requested operation is not valid: domain is not running',
      ['isInvalidState', 'isNotRunning'],
      ExitCode.Failed,
    ],
    [
      ErrorNumber.OPERATION_INVALID,
      'Requested operation is not valid: network is already active',
      ['isAlreadyRunning', 'isInvalidState'],
      ExitCode.Failed,
    ],
    [
      ErrorNumber.OPERATION_TIMEOUT,
      'cannot acquire state change lock',
      ['isBusy', 'isLibvirtTimeout'],
      ExitCode.TimedOut,
    ],
    [ErrorNumber.ACCESS_DENIED, 'access denied', ['isDenied'], ExitCode.Forbidden],
    [ErrorNumber.NO_SUPPORT, 'this function is not supported', ['isUnsupported'], ExitCode.Failed],
    [ErrorNumber.RPC, 'unknown procedure: 450', ['isUnsupported'], ExitCode.Failed],
    [ErrorNumber.RPC, 'invalid argument', [], ExitCode.Failed],
    [ErrorNumber.AGENT_UNRESPONSIVE, 'Guest agent is not responding', ['isAgentUnavailable'], ExitCode.Failed],
  ])('%i %s', (code, message, expected, exitCode) => {
    const error = make(code, message);
    const names = predicates.filter(([, holds]) => holds(error)).map(([name]) => name);
    expect(names.sort()).toEqual([...expected].sort());
    expect(error.exitCode).toBe(exitCode);
    expect(error.message).toBe(message);
  });

  it('that are newer than we are keep their number', () => {
    expect(make(9999)).toMatchObject({ code: 'LIBVIRT_9999', number: 9999 });
  });

  it('are not what other errors are taken for', () => {
    for (const [, holds] of predicates) {
      for (const other of [undefined, new Error('not found'), { number: 42 }]) expect(holds(other)).toBe(false);
    }
  });
});
