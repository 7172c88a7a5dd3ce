import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { selectConnection, standaloneKubeconfigs } from '../../src/kube/connection.ts';
import type { ConnectionOptions } from '../../src/kube/connection.ts';
import { parseKubeconfig } from '../../src/kube/kubeconfig.ts';
import { makeTestFolder } from '../support/test-folder.ts';

let home: string;
beforeEach(() => {
  home = makeTestFolder('kubeconfig');
  mkdirSync(join(home, '.kube'));
});

function config(name: string, namespace = ''): string {
  return `
apiVersion: v1
kind: Config
current-context: ${name}
clusters: [{name: ${name}, cluster: {server: "https://${name}.example:6443", certificate-authority: pki/ca.crt}}]
users: [{name: ${name}, user: {token: secret-${name}}}]
contexts: [{name: ${name}, context: {cluster: ${name}, user: ${name}, namespace: "${namespace}"}}]
`;
}

function write(path: string, text: string): string {
  const full = join(home, path);
  writeFileSync(full, text);
  return full;
}

function select(options: Partial<ConnectionOptions> = {}): ReturnType<typeof selectConnection> {
  return selectConnection({ env: {}, home, cwd: home, standaloneKubeconfigs: [], ...options });
}

describe('selecting a connection', () => {
  it('takes --kubeconfig before everything else', async () => {
    write('given', config('given'));
    write('.kube/config', config('own'));
    const env = { KUBECONFIG: write('env', config('env')) };
    expect((await select({ kubeconfig: 'given', env })).cluster.server).toBe('https://given.example:6443');
    expect((await select({ env })).cluster.server).toBe('https://env.example:6443');
    expect((await select()).cluster.server).toBe('https://own.example:6443');
  });

  it('merges the files of KUBECONFIG: the first says what the current context is, all say what there is', async () => {
    const KUBECONFIG = `${write('a', config('a'))}:${join(home, 'missing')}:${write('b', config('b'))}`;
    expect((await select({ env: { KUBECONFIG } })).context).toBe('a');
    expect((await select({ env: { KUBECONFIG }, context: 'b' })).user.token).toBe('secret-b');
  });

  it('keeps what the first file of KUBECONFIG says of a name', async () => {
    const first = write('a', config('same', 'first'));
    const second = write('b', config('same', 'second'));
    expect((await select({ env: { KUBECONFIG: `${first}:${second}` } })).namespace).toBe('first');
  });

  it('takes the namespace of --namespace, then of the context, then default', async () => {
    write('.kube/config', config('own', 'shop'));
    expect((await select({ namespace: 'other' })).namespace).toBe('other');
    expect((await select()).namespace).toBe('shop');
    write('.kube/config', config('own'));
    expect((await select()).namespace).toBe('default');
  });

  it('starts relative paths from the folder of the file', async () => {
    write('.kube/config', config('own'));
    expect((await select()).cluster.caFile).toBe(join(home, '.kube/pki/ca.crt'));
  });

  it('uses the service account inside a pod, with an IPv6 address in brackets', async () => {
    write('token', 'pod-token\n');
    write('namespace', 'pod-namespace\n');
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const pod = await select({ env, serviceAccountFolder: home });
    expect(pod.cluster.server).toBe('https://[fd00::1]:443');
    expect(pod.user.tokenFile).toBe(join(home, 'token'));
    expect(pod.namespace).toBe('pod-namespace');
  });

  it('falls back to the kubeconfig of a local standalone', async () => {
    const local = write('local', config('local'));
    expect((await select({ standaloneKubeconfigs: [join(home, 'none'), local] })).context).toBe('local');
    expect(standaloneKubeconfigs({}, '/home/me')).toContain('/home/me/.local/share/virtctl/standalone/kubeconfig');
  });

  it('passes over an empty ~/.kube/config, as kubectl does', async () => {
    write('.kube/config', 'apiVersion: v1\nkind: Config\n');
    expect((await select({ standaloneKubeconfigs: [write('local', config('local'))] })).context).toBe('local');
  });

  it('says with exit code 6 that nothing is configured', async () => {
    await expect(select()).rejects.toMatchObject({
      exitCode: 6,
      hint: expect.stringContaining('standalone') as string,
    });
    await expect(select({ env: { KUBECONFIG: '/nowhere' } })).rejects.toMatchObject({ exitCode: 6 });
  });

  it('names the contexts there are when the asked one is not there', async () => {
    write('.kube/config', config('own'));
    await expect(select({ context: 'nope' })).rejects.toMatchObject({ exitCode: 2, hint: 'it has own' });
  });

  it('names the file that does not exist', async () => {
    await expect(select({ kubeconfig: 'nope' })).rejects.toThrow('--kubeconfig nope: there is no such file');
  });

  it('says that a file cannot be read', async () => {
    mkdirSync(join(home, '.kube/config'));
    await expect(select()).rejects.toThrow('cannot read the kubeconfig');
  });
});

describe('a kubeconfig', () => {
  it('is read from JSON as from YAML', async () => {
    const fromJson = await parseKubeconfig(
      '{"contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],"current-context":"a"}',
      '/x/config',
    );
    expect(fromJson.contexts.get('a')).toEqual({ cluster: 'c', user: 'u', namespace: undefined });
    const fromFlow = await parseKubeconfig('{contexts: [{name: a, context: {cluster: c, user: u}}]}', '/x/config');
    expect(fromFlow.contexts).toEqual(fromJson.contexts);
  });

  it('says where it is not YAML', async () => {
    await expect(parseKubeconfig('a: [1\nb: 2\n', '/x/config')).rejects.toMatchObject({
      exitCode: 8,
      problems: [{ file: '/x/config', line: expect.any(Number) as number }],
    });
  });

  it('says which field has the wrong type, without its value', async () => {
    const parsed = parseKubeconfig('users: [{name: a, user: {token: {very: secret}}}]', '/x/config');
    await expect(parsed).rejects.toThrow('/x/config: users[0].user.token: must be a string');
    await expect(
      parseKubeconfig('users: [{name: a, user: {client-key-data: "not base64!"}}]', '/x/config'),
    ).rejects.toThrow('users[0].user.client-key-data: must be base64');
  });

  it('reads exec plug-ins, OpenID Connect and impersonation', async () => {
    const { users } = await parseKubeconfig(
      `users:
- name: a
  user:
    as: jane
    as-groups: [dev, ops]
    exec: {command: ./bin/login, args: [--now], env: [{name: A, value: b}], installHint: install it}
- name: b
  user: {auth-provider: {name: oidc, config: {id-token: x}}}
`,
      '/x/config',
    );
    expect(users.get('a')).toMatchObject({
      impersonate: { user: 'jane', groups: ['dev', 'ops'] },
      exec: { command: '/x/bin/login', args: ['--now'], env: [{ name: 'A', value: 'b' }], installHint: 'install it' },
    });
    expect(users.get('b')?.authProvider).toEqual({ name: 'oidc', config: { 'id-token': 'x' } });
  });
});
