/** The box's calls as messages: steps to requests, responses to answers. */
import type { MessageInitShape } from "@bufbuild/protobuf";

import {
  type HeartbeatRequestSchema,
  type HeartbeatResponse,
  NextAction as WireAction,
  RegisterOutcome,
  type RegisterRequestSchema,
  type RegisterResponse,
  type UpdateCardRequestSchema,
} from "../gen/agentworkspace/registry/v1/registration_service_pb.js";
import type { Announcement, Launch, Report } from "./launch.js";
import type { Admission, CallRegister, NextAction } from "./steps.js";

// A call that takes longer is repeated; the first one may have been carried out all the same.
export const CALL_SECONDS = 10;
const LONGEST_ERROR = 1000;

export function registerRequest(
  launch: Launch,
  said: Announcement,
  step: CallRegister,
): MessageInitShape<typeof RegisterRequestSchema> {
  return {
    workspaceId: launch.workspaceId,
    bootstrapTicket: step.ticket?.reveal() ?? "",
    tokenSha256: step.tokenSha256,
    requestId: step.requestId,
    url: said.url ?? "",
    deliveryMode: said.deliveryMode ?? "",
    ...(said.agentCard === undefined ? {} : { agentCard: said.agentCard }),
    runtime: said.runtime ?? "",
    runtimeVersion: said.runtimeVersion ?? "",
  };
}

export function heartbeatRequest(launch: Launch, report: Report): MessageInitShape<typeof HeartbeatRequestSchema> {
  return {
    workspaceId: launch.workspaceId,
    activeTasks: report.activeTasks ?? 0,
    sampleError: Array.from(report.sampleError ?? "").slice(0, LONGEST_ERROR).join(""),
    degraded: report.degraded ?? false,
  };
}

export function updateCardRequest(
  launch: Launch,
  said: Announcement,
): MessageInitShape<typeof UpdateCardRequestSchema> {
  return {
    workspaceId: launch.workspaceId,
    ...(said.agentCard === undefined ? {} : { agentCard: said.agentCard }),
    url: said.url ?? "",
  };
}

export function admissionOf(response: RegisterResponse): Admission {
  const interval = response.heartbeatInterval;
  return {
    kind: "admission",
    outcome: RegisterOutcome[response.outcome] ?? "",
    incarnation: Number(response.incarnation),
    heartbeatIntervalSeconds: interval === undefined ? 0 : Number(interval.seconds) + interval.nanos / 1e9,
  };
}

/** A word that this version does not know asks for nothing. */
export function nextActionOf(response: HeartbeatResponse): NextAction {
  switch (response.nextAction) {
    case WireAction.REGISTER:
      return { kind: "next", action: "REGISTER" };
    case WireAction.STOP:
      return { kind: "next", action: "STOP" };
    default:
      return { kind: "next", action: "NONE" };
  }
}
