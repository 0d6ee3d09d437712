#include "switch/explain.h"

#include "packet/parse.h"
#include "switch/address_kind.h"

namespace weft {
namespace {

ExplainedWay way_to(const View& view, const Port& in, const FlowTuple& flow) {
  const Image& image = *view.image;
  const Image::Classification source = image.classify(flow.source, flow.family);
  const Image::Classification destination = image.classify(flow.destination, flow.family);
  ExplainedWay way;
  way.address = flow.destination;
  way.port = flow.destination_port;
  const Located found = locate(view, in, source, destination, flow.destination);
  way.reason = found.reason;
  if (found.reason != DropReason::none) return way;
  way.out = found.out;
  const Ends ends{in, *found.out, source, destination};
  way.egress = judge_egress(image, ends, flow);
  way.ingress = judge_ingress(image, ends, flow);
  way.source_program = source.program;
  way.destination_program = destination.program;
  way.reason = way.egress.reason != DropReason::none ? way.egress.reason : way.ingress.reason;
  if (way.reason == DropReason::none && found.out->status.load(std::memory_order_relaxed) == PortStatus::gone)
    way.reason = DropReason::port_closed;
  return way;
}

// What the parser and the source check refuse by the addresses alone, before anybody asks for a verdict.
DropReason unfit(const FlowTuple& sent) {
  if (!addresses_valid(sent)) return DropReason::address_invalid;
  if (is_multicast(sent.destination)) return DropReason::multicast;
  if (sent.destination == Address::v4(0xffffffff)) return DropReason::broadcast;
  // In IPv4 the host may have such an address, which locate() knows.
  if (sent.family == 6 && is_link_local(sent.destination)) return DropReason::link_local;
  return DropReason::none;
}

}  // namespace

Explained explain(const View& view, const FlowTuple& sent) {
  Explained answer;
  answer.image = view.image.get();
  answer.generation = view.generation;
  answer.in = view.routes.find(sent.source);
  if (answer.in == nullptr) answer.in = view.host;
  if (answer.image == nullptr || answer.in == nullptr) return answer;
  if (const DropReason reason = unfit(sent); reason != DropReason::none) {
    ExplainedWay way;
    way.address = sent.destination;
    way.port = sent.destination_port;
    way.reason = reason;
    answer.ways.push_back(way);
    return answer;
  }
  Service service;
  if (!find_service(view, *answer.in, sent.protocol, sent.destination, sent.destination_port, service)) {
    answer.ways.push_back(way_to(view, *answer.in, sent));
    return answer;
  }
  answer.service = service;
  answer.service_reason = admit(service, sent.source);
  if (answer.service_reason != DropReason::none) return answer;
  for (const Backend& backend : service.backends) {
    FlowTuple flow = sent;
    flow.destination = backend.address;
    flow.destination_port = backend.port;
    answer.ways.push_back(way_to(view, *answer.in, flow));
  }
  return answer;
}

}  // namespace weft
