/** A file that is there under its name only when all of it is: written beside it, under a name that nobody has. */
import { randomBytes } from 'node:crypto';
import { link, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { ConflictError } from '../../base/errors.ts';

/** What file systems say that know no second name of a file: FAT, some network file systems. */
const noLinks: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** See the head of this file. */
export class PartFile {
  readonly #target: string;
  /** Its name meanwhile, as `FILE.1f2e3d4c.part`. */
  readonly path: string;
  readonly handle: FileHandle;

  private constructor(target: string, path: string, handle: FileHandle) {
    this.#target = target;
    this.path = path;
    this.handle = handle;
  }

  /** Makes it. It overwrites nothing: what has its name by chance, or a link that somebody laid there, is an error. */
  static async create(target: string): Promise<PartFile> {
    const path = `${target}.${randomBytes(4).toString('hex')}.part`;
    return new PartFile(target, path, await open(path, 'wx', 0o600));
  }

  /**
   * Closes it, and gives it its name.
   *
   * @param isForced Whether a file that has the name goes.
   * @throws ConflictError when somebody else made a file of that name meanwhile.
   */
  async keep(isForced: boolean): Promise<void> {
    await this.handle.sync();
    await this.handle.close();
    if (!isForced) {
      try {
        // Unlike a rename, it takes no name that is taken.
        await link(this.path, this.#target);
        await rm(this.path);
        return;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EEXIST') {
          throw new ConflictError(`${this.#target} was made by somebody else meanwhile`, {
            cause: error,
            hint: 'give --force to overwrite it',
          });
        }
        if (!noLinks.has(code)) throw error;
      }
    }
    await rename(this.path, this.#target);
  }

  /** Removes what there is of it. */
  async discard(): Promise<void> {
    await this.handle.close();
    await rm(this.path, { force: true });
  }
}
