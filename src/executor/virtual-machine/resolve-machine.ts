import { desiredDomain } from './desired-domain.ts';
import { refuseOtherWriters } from './disk-claims.ts';
import { resolveInterfaces } from './interfaces.ts';
import { NotReadyError } from './not-ready-error.ts';
import { retryMs, type Round } from './round.ts';
import { resolveVolumes } from './volumes.ts';
import { validateObject } from '../../api/validate.ts';
import { InvalidInputError } from '../../base/errors.ts';

/** What is not there yet, and no cache tells of (a Secret), is looked for this often, in milliseconds. */
const notReadyMs = 4_000;

/** Finds out what the domain is to be. */
export async function resolveMachine(round: Round): Promise<void> {
  const { status, signal } = round;
  const { machine } = status;
  try {
    const problems = validateObject(machine).filter(
      (problem) => (problem as { severity?: string }).severity !== 'warning',
    );
    if (problems.length > 0) throw new InvalidInputError(problems);
    round.volumes = await resolveVolumes(machine, round.parts, signal);
    await refuseOtherWriters(round);
    const interfaces = await resolveInterfaces(machine, round.parts.networks, signal, {
      plugs: round.parts.plugs,
      live: round.view?.live,
    });
    const traits = round.parts.traits();
    const disks = round.volumes.map(({ disk }) => disk);
    const wanted = desiredDomain(machine, { disks, interfaces }, traits);
    if (wanted['type'] === 'kvm' && !traits.kvmUsable) {
      throw new NotReadyError(
        'KVMUnusable',
        'Error',
        `KVM cannot be used on node ${round.parts.nodeName}: ${traits.kvmMessage}`,
        {
          hint: 'set spec.allowEmulation of the Hypervisor to run it under emulation',
        },
      );
    }
    round.wanted = wanted;
  } catch (error) {
    if (!(error instanceof NotReadyError) && !(error instanceof InvalidInputError)) throw error;
    round.trouble = error;
    round.requeueAfterMs = error instanceof NotReadyError ? notReadyMs : retryMs;
  }
}
