// SPDX-License-Identifier: Apache-2.0
type Handler<A extends unknown[]> = (...args: A) => void;

export interface Debounced<A extends unknown[]> extends Handler<A> {
  (...args: A): void;
  flush(): void;
  cancel(): void;
}

export function debounce<A extends unknown[]>(handler: Handler<A>, wait: number): Debounced<A> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let pending: A | undefined;

  const flush = () => {
    if (timer !== undefined) clearTimeout(timer);
    timer = undefined;
    if (pending) {
      const args = pending;
      pending = undefined;
      handler(...args);
    }
  };

  const debounced = (...args: A) => {
    pending = args;
    if (timer !== undefined) clearTimeout(timer);
    timer = setTimeout(flush, wait);
  };

  return Object.assign(debounced, {
    flush,
    cancel: () => {
      if (timer !== undefined) clearTimeout(timer);
      timer = pending = undefined;
    },
  });
}
