/** A shell in a test guest, through its agent: what a test writes and reads there, it writes and reads as the guest does. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LibvirtdNode } from './libvirtd.ts';

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
}

/**
 * Runs a command in a guest.
 *
 * @param domain The domain's name at libvirt, as `default.web`.
 * @returns What it printed, without the last line break.
 * @throws Error when it fails, or the agent does not answer in time.
 */
export async function inGuest(
  libvirtd: LibvirtdNode,
  domain: string,
  command: string,
  timeoutMs = 120_000,
): Promise<string> {
  const end = Date.now() + timeoutMs;
  const ask = async (execute: string, args: object): Promise<unknown> => {
    const text = JSON.stringify({ execute, arguments: args });
    return (JSON.parse(await libvirtd.virsh('qemu-agent-command', domain, text)) as { return: unknown }).return;
  };
  let pid: number | undefined;
  while (pid === undefined) {
    try {
      await ask('guest-ping', {});
      const started = await ask('guest-exec', { path: '/bin/sh', arg: ['-c', command], 'capture-output': true });
      pid = (started as { pid: number }).pid;
    } catch (error) {
      // Its agent is not up yet, or not again.
      if (Date.now() > end) throw error;
      await delay(200);
    }
  }
  for (;;) {
    const status = (await ask('guest-exec-status', { pid })) as ExecStatus;
    const output = Buffer.from(status['out-data'] ?? '', 'base64').toString('utf8');
    if (status.exited) {
      if (status.exitcode === 0) return output.replace(/\n$/, '');
      const complaint = Buffer.from(status['err-data'] ?? '', 'base64').toString('utf8');
      throw new Error(`in ${domain}: ${command} ended with ${status.exitcode ?? '?'}: ${output}${complaint}`);
    }
    if (Date.now() > end) throw new Error(`in ${domain}: ${command} does not end`);
    await delay(50);
  }
}
