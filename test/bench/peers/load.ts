/** Loads a package of this folder. They are not installed where types are checked, so each caller says what it uses of one. */
export async function load<T>(name: string): Promise<T> {
  return (await import(name)) as T
}
