// What scripts/start.mjs does once it has built: argv[2] is the URL of a built dist/cli/ folder.

const { processIo } = await import(`${process.argv[2]}process-io.js`);
const { runNewcomer } = await import(`${process.argv[2]}newcomer.js`);
process.exitCode = await runNewcomer(processIo());
