import { checkMigration, stepMigration } from '../../migration/migrate-machine.ts';
import type { Verb } from '../verb.ts';

/** Migrate: on another node, the same boot. The steps are in src/executor/migration. */
export const migrate: Verb = {
  firstStep: 'Preparing',
  endsItself: true,
  check: checkMigration,
  step: stepMigration,
};
