import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startKubeApiserver } from './kube-apiserver.ts';
import type { KubeApiserver } from './kube-apiserver.ts';

let api: KubeApiserver;
beforeAll(async () => {
  api = await startKubeApiserver();
});
afterAll(async () => {
  await api.stop();
  expect(existsSync(api.folder)).toBe(false);
});

function get(path: string, token: string): Promise<{ status: number; body: string }> {
  return new Promise((done, failed) => {
    const headers = { authorization: `Bearer ${token}` };
    request(`${api.server}${path}`, { ca: api.ca, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => done({ status: response.statusCode ?? 0, body }));
    })
      .on('error', failed)
      .end();
  });
}

/** Whether a process lives; a zombie that nobody has reaped yet does not. */
function isRunning(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !/\) [ZX] /.test(readFileSync(stat, 'utf8'));
}

describe('the kube-apiserver fixture', () => {
  it('serves the version it was built as', async () => {
    const { status, body } = await get('/version', api.adminToken);
    expect(status).toBe(200);
    expect((JSON.parse(body) as { gitVersion: string }).gitVersion).toMatch(/^v1\./);
  });

  it('lets the admin in, forbids nobody and rejects a stranger', async () => {
    expect((await get('/api/v1/secrets', api.adminToken)).status).toBe(200);
    expect((await get('/api/v1/secrets', api.nobodyToken)).status).toBe(403);
    expect((await get('/api/v1/secrets', 'stranger')).status).toBe(401);
  });

  it('comes back on the same address with its data after a kill', async () => {
    const before = api.pid();
    await api.kill();
    await expect(get('/version', api.adminToken)).rejects.toThrow();
    await api.restart();
    expect(api.pid()).not.toBe(before);
    expect((await get('/api/v1/namespaces/kube-system', api.adminToken)).status).toBe(200);
  });

  it('leaves nothing running when the process that started it is killed', async () => {
    const module = resolve(import.meta.dirname, 'kube-apiserver.ts');
    const source = `const api = await (await import(${JSON.stringify(module)})).startKubeApiserver();
      process.stdout.write(JSON.stringify([api.pid(), api.etcdPid()]) + '\\n');
      setInterval(() => undefined, 1000);`;
    const starter = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(starter.stdout), 'line')) as [string];
    const pids = JSON.parse(line) as number[];
    expect(pids.map(isRunning)).toEqual([true, true]);
    starter.kill('SIGKILL');
    await vi.waitUntil(() => !pids.some(isRunning), { timeout: 120_000 });
  });
});
