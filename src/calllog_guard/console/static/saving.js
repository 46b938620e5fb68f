// Saves what was made in the browser as a file of this machine; nothing of it goes anywhere else.

export function save(name, kind, pieces) {
  const at = URL.createObjectURL(new Blob(pieces, { type: kind }));
  const link = document.createElement("a");
  link.href = at;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(at), 60_000);
}
