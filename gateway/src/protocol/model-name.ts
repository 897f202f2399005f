/** Names of models as clients say them: `llama3.2:3b`, or `llama3.2:3b@ada` for that of a friend's gateway. */

/** The friend whose model a name means; undefined for one of the house. */
export function friendOf(name: string): string | undefined {
  const at = name.lastIndexOf('@')
  return at === -1 ? undefined : name.slice(at + 1)
}

/** With the tag that a name without one means: `llama3.2` is `llama3.2:latest`, here as at a friend's. */
export function fullName(name: string): string {
  const at = name.lastIndexOf('@')
  const [model, friend] = at === -1 ? [name, ''] : [name.slice(0, at), name.slice(at)]
  return model.includes(':') ? name : `${model}:latest${friend}`
}
