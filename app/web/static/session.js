// The key, which the tab keeps until it is closed, and which no other tab sees.

const NAME = "graftwork.key";

export const session = {
  get key() {
    return sessionStorage.getItem(NAME);
  },
  begin(key) {
    sessionStorage.setItem(NAME, key);
  },
  end() {
    sessionStorage.removeItem(NAME);
  },
};
