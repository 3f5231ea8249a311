/** The command line of `npm run demo`. */
import { Command, InvalidArgumentError, Option } from 'commander';

interface DemoOptions {
  /** File with real orders. Default: orders are made up. */
  readonly orders?: string;
  /** Number of orders to make up. */
  readonly count: number;
  /** Time to settle, s. */
  readonly deadline: number;
}

const whole = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 10_000_000)
    throw new InvalidArgumentError('a whole number from 1 to 10,000,000');
  return n;
};

/** Reads the options. Ends the process with status 2 on wrong use. */
export function readOptions(): DemoOptions {
  return new Command('demo')
    .description('Sends orders through the shop and checks the result.')
    .option(
      '--orders <file>',
      'real orders: a CSV with InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country',
    )
    .addOption(
      new Option('--count <n>', 'number of orders to make up')
        .argParser(whole)
        .default(50_000)
        .conflicts('orders'),
    )
    .option(
      '--deadline <s>',
      'give up when not everything is settled after so many seconds',
      whole,
      300,
    )
    .showHelpAfterError()
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse()
    .opts<DemoOptions>();
}
