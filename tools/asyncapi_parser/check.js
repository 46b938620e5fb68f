// Checks an AsyncAPI document with the project's own parser: every error is shown, and the exit code is 1 where there is one.
const { Parser, fromFile } = require("@asyncapi/parser");

(async () => {
  const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
  const errors = diagnostics.filter((each) => each.severity === 0);
  for (const each of errors) console.error(each.code, each.message, each.path.join("/"));
  if (document) console.log(document.channels().all().length, "channels,", document.operations().all().length, "operations");
  process.exit(errors.length > 0 || !document ? 1 : 0);
})();
