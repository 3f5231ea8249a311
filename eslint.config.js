import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      'dist/',
      '.tap/',
      '.millrace/',
      '.scratch/', // written by tools, never committed
      '**/generated/', // written by npm run proto; CI compares it with proto/
      '**/*.mjs',
      '**/*.cjs',
      'eslint.config.js', // in no tsconfig: the rules that need types cannot run there
    ],
  },
  ...tseslint.configs.recommended,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      // Async callbacks are everywhere in tests and event handlers.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      // A written default is a decision.
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      // `typeof import('…')` types an optional or late import.
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
      ],
      // Texts of attackers are cleaned of control characters.
      'no-control-regex': 'off',
      // `for (;;)` reads better than a flag.
      'no-constant-condition': ['error', { checkLoops: false }],
    },
  },
  {
    // Prettier breaks all other lines. This rule holds comments. Texts may be longer, because they
    // read better whole.
    rules: {
      'max-len': [
        'error',
        {
          code: 100,
          ignoreStrings: true,
          ignoreTemplateLiterals: true,
          ignoreRegExpLiterals: true,
          ignoreUrls: true,
        },
      ],
    },
  },
  {
    // Functions beyond these limits stand in eslint-suppressions.json. The list may only become
    // shorter (scripts/check-exceptions.mjs).
    files: ['src/**/*.{ts,tsx}', 'workers/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 5],
    },
  },
  {
    // Scripts of the console's pages run in a browser as they are written: no tsconfig has them.
    files: ['src/console/assets/*.js'],
    ...tseslint.configs.disableTypeChecked,
    languageOptions: { parserOptions: { projectService: false } },
  },
  {
    files: ['test/**/*.ts'],
    // t.test() queues; tap waits for it
    rules: { '@typescript-eslint/no-floating-promises': 'off' },
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    ignores: ['src/config.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'the environment is read in src/config.ts only',
        },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: ['process', 'node:process'].map((name) => ({
            name,
            importNames: ['env'],
            message: 'the environment is read in src/config.ts only',
          })),
        },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/core/clock.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        ...[
          "MemberExpression[object.name='Date'][property.name='now']",
          "NewExpression[callee.name='Date'][arguments.length=0]",
          "CallExpression[callee.name='Date']",
          "MemberExpression[object.name='performance'][property.name=/^(now|timeOrigin)$/]",
          "MemberExpression[object.name='process'][property.name='hrtime']",
        ].map((selector) => ({
          selector,
          message: 'clocks are read in src/core/clock.ts only: monotonicMs(), wallClockMs()',
        })),
      ],
    },
  },
);
