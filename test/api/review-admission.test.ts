import { describe, expect, it } from 'vitest';
import { reviewAdmission } from '../../src/api/review-admission.ts';

const machine = (spec: unknown): object => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop' },
  spec,
});

function review(request: object): NonNullable<ReturnType<typeof reviewAdmission>>['response'] {
  const answer = reviewAdmission({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: { uid: 'u1', name: 'web', ...request },
  });
  if (answer === undefined) throw new Error('no answer');
  return answer.response;
}

describe('reviewAdmission', () => {
  it('allows what is valid, with the uid of the question', () => {
    expect(review({ operation: 'CREATE', object: machine({}) })).toEqual({ uid: 'u1', allowed: true });
  });

  it('refuses what is not valid, with every field', () => {
    const { allowed, status } = review({ operation: 'CREATE', object: machine({ runStrateg: 1, volumes: 2 }) });
    expect(allowed).toBe(false);
    expect([status?.code, status?.reason, status?.details.kind]).toEqual([422, 'Invalid', 'VirtualMachine']);
    expect(status?.details.causes).toEqual([
      { reason: 'FieldValueNotSupported', field: 'spec.runStrateg', message: 'unknown key; did you mean runStrategy?' },
      { reason: 'FieldValueInvalid', field: 'spec.volumes', message: 'expected a list, found 2' },
    ]);
    expect(status?.message).toContain('spec.runStrateg: unknown key');
  });

  it('compares an update with what was before', () => {
    const answer = review({
      operation: 'UPDATE',
      object: machine({ nodeName: 'b' }),
      oldObject: machine({ nodeName: 'a' }),
    });
    expect([answer.allowed, answer.status?.code]).toEqual([false, 403]);
  });

  it('lets nothing that is protected be deleted', () => {
    const object = machine({ deletionProtection: true });
    expect(review({ operation: 'DELETE', object: null, oldObject: object }).allowed).toBe(false);
    expect(review({ operation: 'DELETE', object: null, oldObject: machine({}) }).allowed).toBe(true);
  });

  it('lets subresources pass: status is written by the executors', () => {
    expect(review({ operation: 'UPDATE', subResource: 'status', object: machine({ x: 1 }) }).allowed).toBe(true);
  });

  it('tells warnings', () => {
    const answer = reviewAdmission(
      {
        kind: 'AdmissionReview',
        request: {
          uid: 'u',
          operation: 'CREATE',
          object: machine({ volumes: [{ name: 'a', virtualDisk: 'd' }] }),
        },
      },
      { find: () => undefined },
    );
    expect(answer?.response.allowed).toBe(true);
    expect(answer?.response.warnings).toEqual(['spec.volumes[0].virtualDisk: there is no VirtualDisk "d" in shop yet']);
  });

  it('does not answer what is no review', () => {
    for (const body of [null, 1, {}, { kind: 'AdmissionReview' }, { kind: 'AdmissionReview', request: {} }]) {
      expect(reviewAdmission(body)).toBeUndefined();
    }
  });
});
