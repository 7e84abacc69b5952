import { AgentClient, Stopped } from "@agentworkspace/client";

const agent = AgentClient.fromEnvironment({ runtime: "example" }).start();
try {
  const { incarnation } = await agent.admitted();
  console.log(`in, as launch ${incarnation} of this workspace`);
  // Your work. `agent.bearer()` is what it presents to your other services, `agent.report` what the registry shows.
  agent.report({ activeTasks: 1 });
  await agent.finished();
} catch (end) {
  if (!(end instanceof Stopped)) {
    throw end;
  }
  console.log(`told to stop: ${end.why ?? end.reason}`); // replaced, suspended or retired
} finally {
  await agent.close();
}
