// AWS's own SDK for JavaScript in a two-way stream: says each event once the one before was
// answered, and prints what it hears, a line each.  Its configuration is the argument, as JSON.
import { createRequire } from "node:module";

const given = JSON.parse(process.argv[2]);
const require = createRequire(given.modules + "/");
const sdk = require("@aws-sdk/client-bedrock-runtime");

const client = new sdk.BedrockRuntimeClient({
    endpoint: given.endpoint,
    region: "eu-west-1",
    maxAttempts: 1,
    // It signs messages even where its head has a token.
    credentials: { accessKeyId: given.bearer ? "unused" : given.key,
                   secretAccessKey: "anything" },
    ...(given.bearer
        && { token: { token: given.key }, authSchemePreference: ["httpBearerAuth"] }),
});

let answered;
const answer = () => new Promise((resolve) => { answered = resolve; });

async function* body() {
    for (const event of given.events) {
        const waits = answer();
        yield { chunk: { bytes: new TextEncoder().encode(JSON.stringify(event)) } };
        await waits;
    }
}

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
try {
    const said = await client.send(new sdk.InvokeModelWithBidirectionalStreamCommand({
        modelId: given.model, body: body() }));
    for await (const event of said.body) {
        const heard = JSON.parse(new TextDecoder().decode(event.chunk.bytes));
        print(heard);
        if (heard.event.textOutput)
            answered();
    }
} catch (error) {
    print({ error: error.name, message: error.message, status: error.$metadata?.httpStatusCode });
}
client.destroy();
process.exit(0);
