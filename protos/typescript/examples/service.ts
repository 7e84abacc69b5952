import { createServer } from "node:http";

import { Channel, Verifier, expressBearer, principalOf } from "@agentworkspace/client";

// A caller with the role `verifier` in the registry's credentials file; see deploy/README.md.
const channel = new Channel(process.env["REGISTRY_ADDRESS"] ?? "127.0.0.1:7101", {
  bearer: process.env["REGISTRY_TOKEN"] ?? "",
});
const verifier = new Verifier(channel).start();

// The same line in Express: app.get("/whoami", bearer, handler); in Fastify: fastifyBearer, as a preHandler.
const bearer = expressBearer(verifier);
const server = createServer((request, response) =>
  bearer(request, response, (fault) => {
    response.statusCode = fault === undefined ? 200 : 500;
    response.end(fault === undefined ? `workspace ${principalOf(request).workspaceId}\n` : "");
  }),
);
server.listen(Number(process.env["PORT"] ?? 8080), "127.0.0.1", () => console.log("serving"));
