/** An error whose message is one sentence for the visitor: what is wrong and the way out. */
export class Refusal extends Error {}
