import { describe, expect, it } from 'vitest';
import { poolSecretUuid, secretValue } from '../../../src/executor/virtual-pool/pool-secret.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('the secret of a pool', () => {
  it('has a UUID that follows from that of the pool, and differs between pools', () => {
    const one = poolSecretUuid('0d1c2e6a-0000-4000-8000-000000000001');
    expect(one).toBe(poolSecretUuid('0d1c2e6a-0000-4000-8000-000000000001'));
    expect(one).not.toBe(poolSecretUuid('0d1c2e6a-0000-4000-8000-000000000002'));
    expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('is for Ceph what the base64 of a keyring stands for, and for iSCSI the password itself', () => {
    const key = 'AQBhCu1jAAAAABAAmqG0Cn8GZy6xLh7yEJ1Gmw==';
    expect(secretValue(base64(`${key}\n`), 'ceph', 'key').toString('base64')).toBe(key);
    expect(secretValue(base64(key), 'iscsi', 'key').toString()).toBe(key);
  });

  it('is refused when it is empty, or no key of Ceph, and the refusal does not hold it', () => {
    expect(() => secretValue('', 'iscsi', 'key "password"')).toThrow('key "password" is empty');
    expect(() => secretValue(base64('hunter2!'), 'ceph', 'key "password"')).toThrow(
      /^key "password" is no key of Ceph/,
    );
    expect(() => secretValue(base64('hunter2!'), 'ceph', 'x')).not.toThrow('hunter2');
  });
});
