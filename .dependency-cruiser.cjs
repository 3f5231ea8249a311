/** The allowed imports between folders, with their reasons. See docs/ARCHITECTURE.md. */
/** Files under `from` may import only `allowed` files of our own code. */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^(src|workers|scripts|test)/', pathNot: allowed },
});
/**
 * In the code that ships, only files under `allowed` may import the library. Functions, tests and
 * benchmarks may use any library.
 */
const owner = (name, library, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: '^src/', pathNot: allowed },
  to: { path: `node_modules/${library}/` },
});

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      comment: 'the way of an event runs one way',
      from: { path: '^(src|workers|scripts)/' },
      to: { circular: true },
    },
    only('core-is-alone', '^src/core/', '^src/core/', 'the words must not know the machine'),
    only('wire-is-an-edge', '^src/wire/', '^src/(core|wire)/', 'bytes do not know the server'),
    only(
      'redis-is-an-edge',
      '^src/redis/',
      '^src/(core|redis)/',
      'the server does not know the bytes',
    ),
    only(
      'define-is-light',
      '^src/define/',
      '^src/(core|define)/',
      'function files import it inside every pool thread',
    ),
    only(
      'thread-has-no-redis',
      '^(src/thread/|workers/thread)',
      '^src/(core|wire|define|thread|tracing)/',
      'a pool thread never holds the dispatcher or a writing connection',
    ),
    only(
      'tracing-is-an-edge',
      '^src/tracing/',
      '^src/(core|tracing)/',
      'spans know neither server nor bytes; stages know the port in core/tracing.ts only',
    ),
    only(
      'append-stage',
      '^src/pipeline/append/',
      '^src/((core|wire|redis|pipeline/append)/|define/(function-event|publish-data)\\.ts$)',
      'stages do not import each other: lane-stages.ts and ' +
        'dispatcher/lane-factory.ts put them in a row; ' +
        'publish is typed as functions are',
    ),
    only(
      'read-stage',
      '^src/pipeline/read/',
      '^src/(core|wire|redis|pipeline/(read|batch))/',
      "reads entries in the batch's words",
    ),
    only(
      'batch-stage',
      '^src/pipeline/batch/',
      '^src/(core|wire|pipeline/batch)/',
      'packs bytes, knows no server',
    ),
    only(
      'run-stage',
      '^src/pipeline/run/',
      '^src/((core|wire|pipeline/(run|batch))/|config\\.ts$)',
      'runs batches, knows no server; reads how many threads it may have',
    ),
    only(
      'inbox-stage',
      '^src/pipeline/inbox/',
      '^src/(core|wire|redis|pipeline/(inbox|batch))/',
      'looks batches up before they run; stages do not import each other',
    ),
    only(
      'commit-stage',
      '^src/pipeline/commit/',
      '^src/(core|wire|redis|pipeline/(commit|batch))/',
      'stages do not import each other',
    ),
    only(
      'load-stage',
      '^src/pipeline/load/',
      '^src/(core|wire|redis|pipeline/(load|batch))/',
      'reads what a batch stands on',
    ),
    only(
      'retry-stage',
      '^src/pipeline/retry/',
      '^src/(core|wire|redis|pipeline/(retry|batch))/',
      'stages do not import each other',
    ),
    only(
      'ownership-is-apart',
      '^src/pipeline/ownership/',
      '^src/(core|wire|redis|pipeline/ownership)/',
      'says who may run a lane; knows no stage and no turn',
    ),
    only(
      'lane-joins-stages',
      '^src/pipeline/lane/',
      '^src/(core|wire|redis|pipeline)/',
      'puts the stages in a row; knows no feature, no configuration, no command',
    ),
    only(
      'dead-stage',
      '^src/pipeline/dead/',
      '^src/(core|wire|redis|pipeline/dead)/',
      'stages do not import each other',
    ),
    only(
      'dispatcher-parts',
      '^src/dispatcher/',
      '^src/((core|redis|registry|lag|rewind|outbox|upkeep|views|dispatcher|pipeline)/|' +
        '(config|deployment)\\.ts$)',
      'the wiring: it hands the parts to each other, so it knows them all; ' +
        'only dispatcher.ts stands above',
    ),
    only(
      'payload-is-pure',
      '^src/payload/',
      '^src/(core|wire|payload)/',
      'bytes and shapes in, plain trees out: knows no server and no page',
    ),
    only(
      'schema-judges',
      '^src/schema/',
      '^src/(core|wire|schema)/',
      'text in, verdicts out: knows no server',
    ),
    only(
      'registry-is-a-feature',
      '^src/registry/',
      '^src/((core|define|wire|redis|schema|payload|registry|pipeline/dead)/|' +
        'pipeline/ownership/presence\\.ts$)',
      'schemas stand on the log; of its stages they read the dead letters, and who is present',
    ),
    only(
      'outbox-is-a-feature',
      '^src/outbox/',
      '^src/(core|wire|redis|outbox|pipeline/dead)/',
      'beside the lanes: moves flushes from partition to partition, knows no function',
    ),
    only(
      'upkeep-is-a-feature',
      '^src/upkeep/',
      '^src/(core|wire|redis|lag|upkeep|pipeline/(dead|append))/',
      'beside the lanes: knows streams and counters, not how they are worked on',
    ),
    only(
      'lag-is-a-feature',
      '^src/lag/',
      '^src/(core|wire|redis|lag)/',
      'reads streams and counters; takes in what foreign producers wrote',
    ),
    only(
      'audit-is-a-feature',
      '^src/audit/',
      '^src/(core|redis|audit)/',
      'records changes of any kind: knows none of them',
    ),
    only(
      'rewind-is-a-feature',
      '^src/rewind/',
      '^src/(core|wire|redis|lag|rewind)/',
      'moves groups back: knows streams and counters',
    ),
    only(
      'explain-is-a-feature',
      '^src/explain/',
      '^src/(core|wire|redis|lag|outbox|upkeep|explain|pipeline)/',
      'reads wherever an event may be; writes nothing',
    ),
    only(
      'find-is-a-feature',
      '^src/find/',
      '^src/(core|wire|redis|registry|payload|outbox|upkeep|explain|find)/',
      'searches events and follows their causes; asks explain for their states; writes nothing',
    ),
    only(
      'doctor-is-a-feature',
      '^src/doctor/',
      '^src/((core|wire|redis|registry|lag|outbox|upkeep|doctor|pipeline/dead)/|deployment\\.ts$)',
      'looks at what the others have written, and at the server; writes nothing',
    ),
    only(
      'mend-is-a-feature',
      '^src/mend/',
      '^src/((core|wire|redis|registry|views|payload|mend|pipeline/(dead|batch|load|run))/|' +
        '(config|deployment)\\.ts$)',
      'mends dead letters: runs them apart, edits and replays them; knows no command',
    ),
    only(
      'alerts-are-a-feature',
      '^src/alerts/',
      '^src/(core|redis|lag|outbox|upkeep|explain|alerts)/',
      'reads the figures that others measure, and tells receivers; knows no lane and no command',
    ),
    only(
      'top-is-a-feature',
      '^src/top/',
      '^src/((core|redis|lag|alerts|top)/|pipeline/ownership/presence\\.ts$)',
      'reads lag, alerts and who works, and lays out lines; knows no terminal',
    ),
    only(
      'trend-is-a-feature',
      '^src/trend/',
      '^src/((core|redis|lag|alerts|audit|trend)/|pipeline/ownership/presence\\.ts$)',
      'samples what others measure, and marks what others record; knows no lane and no command',
    ),
    only(
      'config-is-a-leaf',
      '^src/config\\.ts$',
      '^src/core/',
      'the environment, read by whoever is started',
    ),
    only(
      'deployment-opens',
      '^src/deployment\\.ts$',
      '^src/((core|wire|redis|registry|tracing)/|config\\.ts$)',
      'the server, its settings and the declared types: what everything starts from',
    ),
    only(
      'store-is-a-feature',
      '^src/store/',
      '^src/((core|define|wire|redis|registry|payload|store|pipeline/append)/|thread/payload-ways)',
      'histories stand on the log: appended to as streams are, read as a pool thread reads',
    ),
    only(
      'testing-is-light',
      '^src/testing/',
      '^src/(core|define|testing)/',
      "users' tests of deciders need no server",
    ),
    only(
      'views-are-a-feature',
      '^src/views/',
      '^src/(core|wire|redis|lag|upkeep|payload|views|pipeline/dead/|' +
        'store/(read-history|history-page))',
      'reads what the lanes have written, and histories; the wiring alone joins both',
    ),
    only(
      'metrics-tell',
      '^src/metrics/',
      '^src/((core|redis|lag|outbox|upkeep|metrics|pipeline/(append|lane))/|' +
        '(dispatcher|deployment)\\.ts$)',
      'tells what the parts have counted; nothing of the parts knows it',
    ),
    only(
      'admin-watches',
      '^src/admin/',
      '^src/(?!cli/)',
      'may look at everything; nothing but the command line starts it',
    ),
    only(
      'console-shows',
      '^src/console/',
      '^src/(?!cli/|admin/admin)',
      'pages over everything; the admin server alone mounts them',
    ),
    only(
      'torture-is-outermost-but-one',
      '^src/torture/',
      '^src/(?!cli/|admin/)',
      'faults on whole dispatchers: stands on all of Millrace, and only the command line starts it',
    ),
    only(
      'src-stands-alone',
      '^src/',
      '^src/',
      'what ships never imports workers, scripts or tests',
    ),
    only(
      'lab-is-below-its-users',
      '^scripts/lab/',
      '^(src|scripts/lab)/',
      'servers, dispatchers and histories that tests, chaos, bench and demo share',
    ),
    only(
      'tools-are-apart',
      '^scripts/(bench|chaos|demo|differential|shop-gateway)/',
      '^(src|workers|scripts/(lab|$1))/',
      'each tool can be read and removed alone; what several need stands in scripts/lab',
    ),
    only(
      'scripts-need-no-tests',
      '^scripts/',
      '^(src|workers|scripts)/',
      'what scripts and tests share stands in scripts/lab',
    ),
    only(
      'dispatcher-wires',
      '^src/dispatcher\\.ts$',
      '^src/(?!cli/|admin/|alerts/|torture/|store/|testing/|millrace\\.ts|index\\.ts)',
      'builds the parts of a dispatcher; no feature for operators, no API',
    ),
    only(
      'millrace-is-the-api',
      '^src/(millrace|index)\\.ts$',
      '^src/(?!cli/|admin/|torture/)',
      'the API: publishers, stores, views, dispatchers',
    ),
    only(
      'functions-are-guests',
      '^workers/(?!thread\\.ts)',
      '^(workers/|src/(define|testing)/)',
      'functions import what a user of the package may import',
    ),
    {
      name: 'cli-is-outermost',
      severity: 'error',
      comment: 'nothing but the binary imports the command line',
      from: { path: '^src/', pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'threads-are-light',
      severity: 'error',
      comment:
        'nothing a pool thread or a function file loads may lead to the Redis client, the pool ' +
        'or the dispatcher, however many files away',
      from: {
        path: '^(src/(define|testing|thread)/|src/torture/observed\\.ts$|workers/thread\\.ts$)',
      },
      to: {
        path: '(node_modules/(ioredis|piscina)/|^src/(redis|pipeline|dispatcher|cli))',
        reachable: true,
      },
    },
    owner(
      'ioredis-owner',
      'ioredis',
      '^src/redis/',
      'one place decides how commands are sent and resent',
    ),
    owner('piscina-owner', 'piscina', '^src/pipeline/run/', 'one owner of the pool'),
    owner(
      'p-limit-owner',
      'p-limit',
      '^src/thread/',
      'concurrency across subjects is decided in the thread',
    ),
    owner('hono-owner', '(hono|@hono)', '^src/(admin|console)/', 'one HTTP server'),
    owner(
      'prom-client-owner',
      'prom-client',
      '^src/metrics/exposition\\.ts$',
      'metrics are made where they are told; nothing counts into a global',
    ),
    owner(
      'cel-owner',
      '@marcbachmann/cel-js',
      '^src/find/',
      'expressions of people are checked and bounded in one place',
    ),
    owner('yaml-owner', 'yaml', '^src/alerts/', 'the file of alert rules alone is YAML'),
    owner(
      'opentelemetry-owner',
      '@opentelemetry',
      '^src/tracing/',
      'an optional package: it is loaded in one place, where it may be absent',
    ),
    owner('diff-owner', 'diff', '^src/(cli|registry)/', 'shows changes of texts to people'),
    owner(
      'protobufjs-owner',
      'protobufjs',
      '^src/(wire|schema)/',
      'bytes are made and read in one place',
    ),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    // Our own declarations only: many libraries are found by their .d.ts, and would escape their
    // owner's rule.
    exclude: { path: '^(dist/|(src|workers|scripts|test)/.*\\.d\\.ts$)' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs'],
      conditionNames: ['import', 'types', 'default'],
      exportsFields: ['exports'],
    },
  },
};
