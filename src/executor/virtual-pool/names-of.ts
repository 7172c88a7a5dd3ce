/** At most five names, and how many more. */
export function namesOf(users: readonly string[]): string {
  const more = users.length - 5;
  return users.slice(0, 5).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
