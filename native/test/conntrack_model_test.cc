// Random operations on the table and on a naive map, which must agree after each.
#include <doctest/doctest.h>

#include <map>
#include <random>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

struct Known {
  FlowTuple original, reply;
  uint64_t deadline, generation;
  PortLife initiator, responder;
  State state;
};

}  // namespace

// Restarts here do not reopen ports: recovered ports stay live for their entries until released.
TEST_CASE("the table agrees with a map over random sequences of operations") {
  for (uint32_t seed = 1; seed <= 24; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    Fixture f(small(1024));  // large enough that nothing is evicted or over quota: those have their own tests
    std::vector<PortLife> ports{f.a, f.b, f.table->open_port("pod-c").value()};
    std::vector<Known> model;
    uint64_t now = kStart;
    uint64_t generation = 1;
    const auto find_known = [&](const FlowTuple& key, Side& side) -> Known* {
      for (Known& k : model) {
        if (k.deadline <= now) continue;
        if (k.original == key) return side = Side::original, &k;
        if (k.reply == key) return side = Side::reply, &k;
      }
      return nullptr;
    };
    for (int step = 0; step < 400; ++step) {
      CAPTURE(step);
      FlowTuple key =
          tuple(Protocol::udp, static_cast<uint16_t>(1 + below(6)), static_cast<uint16_t>(1 + below(6)),
                0x0a000001 + below(3), 0x0a000001 + below(3));
      if (below(2) != 0) {
        if (!model.empty()) {
          const Known& k = model[below(static_cast<uint32_t>(model.size()))];
          key = below(2) != 0 ? k.original : k.reply;
        }
      }
      Side side{};
      Known* known = find_known(key, side);
      const Lookup found = f.table->find(key, now);
      REQUIRE(found.hit() == (known != nullptr));
      if (known != nullptr) {
        REQUIRE(found.side == side);
        REQUIRE(found.generation == known->generation);
        REQUIRE(found.translated == (side == Side::original ? known->reply : known->original).reversed());
        REQUIRE(found.from == (side == Side::original ? known->initiator : known->responder));
      }
      switch (below(8)) {
        case 0:
        case 1:
        case 2: {  // insert, half of them by a service
          NewConnection wanted = connection(f, key);
          wanted.generation = generation;
          wanted.initiator = ports[below(3)];
          wanted.responder = ports[below(3)];
          FlowTuple translated = key;
          if (below(2) != 0) {
            wanted.translation = {true, false, static_cast<uint16_t>(1 + below(6)),
                                  Address::v4(0x0a000001 + below(3))};
            translated.destination = wanted.translation.to;
            translated.destination_port = wanted.translation.to_port;
          }
          const InsertResult result = f.table->insert(wanted, now);
          if (known != nullptr) {
            REQUIRE(result.status == InsertStatus::exists);
            break;
          }
          Side ignored{};
          const bool taken =
              find_known(translated.reversed(), ignored) != nullptr || translated.reversed() == key;
          REQUIRE(result.status == InsertStatus::ok);
          if (!taken) REQUIRE(result.lookup.translated == translated);
          if (taken) REQUIRE_FALSE(result.lookup.translated == translated);
          REQUIRE(find_known(result.lookup.translated.reversed(), ignored) == nullptr);
          std::erase_if(model, [&](const Known& k) {
            return k.deadline <= now && (k.original == key || k.reply == key ||
                                         k.original == result.lookup.translated.reversed() ||
                                         k.reply == result.lookup.translated.reversed());
          });
          model.push_back({key, result.lookup.translated.reversed(), now + 30 * kSecond, generation,
                           wanted.initiator, wanted.responder, State::udp_unreplied});
          break;
        }
        case 3:
          if (known != nullptr) {
            REQUIRE(f.table->kill(found));
            model.erase(model.begin() + (known - model.data()));
          }
          break;
        case 4:
          if (known != nullptr) {
            REQUIRE(f.table->update(found, {}, now) == Update::pass);
            known->deadline = f.table->read(found.entry)->deadline_ns;  // early by less than 1/128
            REQUIRE(known->deadline + 2 * kSecond > now + 30 * kSecond);
          }
          break;
        case 5:
          if (known != nullptr) {
            REQUIRE(f.table->judge(found, ++generation, 0, 0));
            known->generation = generation;
          }
          break;
        case 6:
          now += below(4) * kSecond;
          f.table->sweep(below(200), now);
          break;
        default:
          if (below(10) == 0) {  // a port goes and comes
            const uint32_t p = below(3);
            const PortLife gone = ports[p];
            f.table->release_port(gone);
            std::erase_if(model, [&](const Known& k) { return k.initiator == gone || k.responder == gone; });
            ports[p] = f.table->open_port("pod-" + std::to_string(seed) + "-" + std::to_string(step)).value();
          } else if (below(10) == 0) {  // a restart
            f.reopen(++now);
            for (Known& k : model) k.generation = 0;
            std::erase_if(model, [&](const Known& k) { return k.deadline <= now; });
          }
      }
      REQUIRE(f.table->check() == nullptr);
    }
  }
}
