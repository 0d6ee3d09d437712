#include "addon/report_value.h"

#include "addon/value.h"

namespace weft::addon {

namespace {

Napi::Object to_drops(Napi::Env env, const PortTotals& totals) {
  Napi::Object drops = Napi::Object::New(env);
  for (size_t reason = 1; reason < drop_reason_count; ++reason)
    if (totals.drops[reason] != 0)
      drops.Set(std::string(drop_reason_name(static_cast<DropReason>(reason))),
                to_number(env, totals.drops[reason]));
  return drops;
}

Napi::Object to_connection(Napi::Env env, const ConnectionView& view, uint64_t now) {
  Napi::Object item = Napi::Object::New(env);
  const FlowTuple& flow = view.original;
  item.Set("protocol", to_number(env, flow.protocol));
  item.Set("family", to_number(env, flow.family));
  item.Set("source", to_end(env, flow.source, flow.source_port, flow.protocol));
  item.Set("destination", to_end(env, flow.destination, flow.destination_port, flow.protocol));
  if ((view.flags & kDestinationTranslated) != 0)
    item.Set("translated", to_end(env, view.reply.source, view.reply.source_port, flow.protocol));
  item.Set("state", state_name(view.state));
  item.Set("generation", std::to_string(view.generation));
  constexpr double kSecondNs = 1e9;
  item.Set("ageSeconds", to_number(env, static_cast<double>(now - view.created_ns) / kSecondNs));
  item.Set("expiresSeconds", to_number(env, static_cast<double>(view.deadline_ns - now) / kSecondNs));
  item.Set("originalPackets", to_number(env, view.packets[0]));
  item.Set("originalBytes", to_number(env, view.bytes[0]));
  item.Set("replyPackets", to_number(env, view.packets[1]));
  item.Set("replyBytes", to_number(env, view.bytes[1]));
  return item;
}

}  // namespace

Napi::Object to_figures(Napi::Env env, const DataPlane& plane, size_t image_bytes) {
  const Snapshot snapshot = plane.core().snapshot();
  const SharedMemoryReport& report = plane.report();
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("generation", std::to_string(snapshot.generation));
  answer.Set("workers", to_number(env, snapshot.workers.size()));
  answer.Set("trial", to_number(env, plane.core().trial()));
  answer.Set("connectionsUsed", to_number(env, snapshot.connections.used));
  answer.Set("connectionsCapacity", to_number(env, snapshot.connections.capacity));
  answer.Set("connectionsRecovered", to_number(env, report.recovered));
  answer.Set("connectionsDiscarded", to_number(env, report.dropped));
  if (report.refused) answer.Set("tableRefused", report.refused->message);
  if (report.supervisor) answer.Set("supervisorRefused", report.supervisor->message);
  if (report.schedule) answer.Set("scheduleRefused", report.schedule->message);
  answer.Set("onTmpfs", report.on_tmpfs);
  answer.Set("udpSegmentation", plane.udp_segmentation());
  uint64_t lost = 0;
  for (const WorkerSnapshot& worker : snapshot.workers) lost += worker.flows_lost + worker.captures_lost;
  answer.Set("lostEvents", to_number(env, lost));
  answer.Set("imageBytes", to_number(env, image_bytes));
  return answer;
}

Napi::Object to_counters(Napi::Env env, const Snapshot& snapshot, const std::string& only) {
  Napi::Array ports = Napi::Array::New(env);
  uint32_t next = 0;
  for (const PortSnapshot& port : snapshot.ports) {
    if (!only.empty() && port.id != only) continue;
    const PortTotals& totals = port.totals;
    Napi::Object item = Napi::Object::New(env);
    item.Set("id", port.id);
    item.Set("receivedPackets", to_number(env, totals.rx_packets));
    item.Set("receivedBytes", to_number(env, totals.rx_bytes));
    item.Set("sentPackets", to_number(env, totals.tx_packets));
    item.Set("sentBytes", to_number(env, totals.tx_bytes));
    item.Set("answers", to_number(env, totals.answers));
    item.Set("connections", to_number(env, totals.connections));
    item.Set("workerNanoseconds", to_number(env, totals.busy_ns));
    item.Set("throttledNanoseconds", to_number(env, totals.throttled_ns));
    item.Set("policedPackets", to_number(env, totals.policed));
    item.Set("drops", to_drops(env, totals));
    ports.Set(next++, item);
  }
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("ports", ports);
  answer.Set("drops", to_drops(env, snapshot.removed));
  return answer;
}

Napi::Array to_connections(Napi::Env env, const DataPlane& plane, uint32_t limit, const std::string& only) {
  const ConnectionTable& table = plane.table();
  const uint64_t now = MonotonicClock().now_ns();
  Napi::Array list = Napi::Array::New(env);
  uint32_t next = 0;
  for (uint32_t index = 0; index < table.capacity() && next < limit; ++index) {
    const auto view = table.read(index);
    if (!view || view->deadline_ns <= now) continue;
    const std::string* initiator = plane.port_id(view->initiator.index);
    const std::string* responder = plane.port_id(view->responder.index);
    if (!only.empty() && (initiator == nullptr || *initiator != only) &&
        (responder == nullptr || *responder != only))
      continue;
    list.Set(next++, to_connection(env, *view, now));
  }
  return list;
}

Napi::Array to_broken(Napi::Env env, const std::vector<BrokenPort>& ports) {
  Napi::Array list = Napi::Array::New(env);
  uint32_t next = 0;
  for (const BrokenPort& port : ports) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("id", port.id);
    item.Set("code", port.error.code);
    item.Set("message", port.error.message);
    list.Set(next++, item);
  }
  return list;
}

}  // namespace weft::addon
