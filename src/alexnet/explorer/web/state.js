// What is being looked at. `on` is told of every change of the names it asks for, once a change.
export function createState(values) {
  const watchers = [];
  return {
    get: (name) => values[name],
    set(changes) {
      const changed = Object.keys(changes).filter((name) => values[name] !== changes[name]);
      Object.assign(values, changes);
      for (const { names, told } of watchers) if (changed.some((name) => names.includes(name))) told();
    },
    on(names, told) {
      watchers.push({ names, told });
      told();
    },
  };
}
