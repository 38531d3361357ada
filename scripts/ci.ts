/** The closing line CI reads, from vitest's JSON report: `N passed, N failed`. */
import { readFileSync } from 'node:fs';

const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites, success } = JSON.parse(
  readFileSync(process.argv[2]!, 'utf8'),
) as Record<string, number> & { success: boolean };
const failed = numFailedTests! || (success ? 0 : numFailedTestSuites || 1);
console.log(`${numPassedTests} passed, ${failed} failed${numPendingTests ? `, ${numPendingTests} skipped` : ''}`);
