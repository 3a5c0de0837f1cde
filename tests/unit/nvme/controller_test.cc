// SPDX-License-Identifier: Apache-2.0
// The controller without any transport: a fake one notes what is asked of it.
#include "nvme/controller.h"

#include <gtest/gtest.h>

#include "nvme/spec/fabrics.h"
#include "tests/support/reactor_fixture.h"

namespace remora::nvme {
namespace {

using spec::StatusCode;

class FakeTransport final : public ControllerTransport {
  public:
    void complete_event(CommandToken token, std::uint16_t status, std::uint32_t dw0) override {
        events.push_back({token, status, dw0});
    }
    void persist_reservations(CommandToken token, std::uint32_t nsid, bool persist) override {
        persisted.push_back({token, nsid, persist});
    }
    void gather(CommandToken token) override { gathered.push_back(token); }
    void close_io_queues() override { ++closes; }
    void end_association() override { ++ends; }

    struct Event {
        CommandToken token;
        std::uint16_t status;
        std::uint32_t dw0;
    };
    struct Persisted {
        CommandToken token;
        std::uint32_t nsid;
        bool persist;
    };
    std::vector<Event> events;
    std::vector<Persisted> persisted;
    std::vector<CommandToken> gathered;
    int closes = 0;
    int ends = 0;
};

class ControllerTest : public test::ReactorFixture {
  public:
    ControllerTest()
        : subsystem_({.nqn = "nqn.x", .serial = "S", .model = "M", .max_namespaces = 8}) {
        options_.cntlid = 1;
        options_.hostnqn = "nqn.host";
        options_.port = &port_;
    }

    std::unique_ptr<Controller> make() {
        return std::make_unique<Controller>(reactor(), transport_, &subsystem_, nullptr, options_);
    }
    static AdminResult set_cc(Controller& controller, std::uint32_t value) {
        spec::PropertyCommand property{};
        property.fabrics_type = static_cast<std::uint8_t>(spec::FabricsType::PropertySet);
        property.offset = spec::kPropertyCc;
        property.value = value;
        return controller.execute(as_command(property), {}, 0);
    }
    static AdminResult get(Controller& controller, std::uint32_t offset, std::uint8_t size) {
        spec::PropertyCommand property{};
        property.fabrics_type = static_cast<std::uint8_t>(spec::FabricsType::PropertyGet);
        property.attributes = size;
        property.offset = offset;
        return controller.execute(as_command(property), {}, 0);
    }
    static std::uint32_t csts(Controller& controller) {
        return get(controller, spec::kPropertyCsts, spec::kProperty4Bytes).dw0;
    }
    static AdminResult request_event(Controller& controller, CommandToken token) {
        spec::Command command{};
        command.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::AsyncEventRequest);
        command.cid = static_cast<std::uint16_t>(token);
        return controller.execute(command, {}, token);
    }

    static constexpr std::uint32_t kEnabled = spec::cc::kNvmEntrySizes | spec::cc::kEnable;

    Subsystem subsystem_;
    FakeTransport transport_;
    AnaPort port_;
    ControllerOptions options_;

  private:
    static spec::Command as_command(const spec::PropertyCommand& property) {
        spec::Command command;
        std::memcpy(&command, &property, sizeof(command));
        return command;
    }
};

TEST_F(ControllerTest, Enable_makesItReadyAndNothingElseDoes) {
    auto controller = make();
    EXPECT_FALSE(controller->ready());
    spec::Command identify{};
    identify.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::Identify);
    EXPECT_EQ(spec::status_code(controller->plan(identify).status),
              StatusCode::CommandSequenceError);
    set_cc(*controller, kEnabled);
    EXPECT_TRUE(controller->ready());
    EXPECT_EQ(csts(*controller), spec::csts::kReady);
    EXPECT_EQ(controller->plan(identify).status, 0);
    EXPECT_EQ(controller->plan(identify).bytes, 4096U);
}

TEST_F(ControllerTest, Enable_withWrongEntrySizes_isFatal) {
    auto controller = make();
    set_cc(*controller, spec::cc::kEnable);
    EXPECT_EQ(csts(*controller), spec::csts::kFatal);
}

TEST_F(ControllerTest, Reset_isReadyUntilTheLastIoQueueIsGone) {
    auto controller = make();
    set_cc(*controller, kEnabled);
    controller->io_queue_added();
    set_cc(*controller, spec::cc::kNvmEntrySizes);
    EXPECT_EQ(transport_.closes, 1);
    EXPECT_EQ(csts(*controller), spec::csts::kReady);
    EXPECT_EQ(spec::status_code(set_cc(*controller, kEnabled).status),
              StatusCode::CommandSequenceError);
    std::uint32_t dw0 = 0;
    EXPECT_NE(controller->check_io_connect(1, 31, dw0), 0);
    controller->io_queue_removed();
    controller->io_queues_closed();
    EXPECT_EQ(csts(*controller), 0U);
}

TEST_F(ControllerTest, Shutdown_withoutQueues_isDoneAtOnce) {
    auto controller = make();
    set_cc(*controller, kEnabled);
    set_cc(*controller, kEnabled | spec::cc::kShutdownNormal);
    EXPECT_EQ(transport_.closes, 0);
    EXPECT_EQ(csts(*controller) & spec::csts::kShutdownMask, spec::csts::kShutdownDone);
}

TEST_F(ControllerTest, Property_wrongSizeOrOffset_isRefused) {
    auto controller = make();
    EXPECT_NE(get(*controller, spec::kPropertyCap, spec::kProperty4Bytes).status, 0);
    EXPECT_NE(get(*controller, spec::kPropertyVs, spec::kProperty8Bytes).status, 0);
    EXPECT_NE(get(*controller, 0x1000, spec::kProperty4Bytes).status, 0);
    EXPECT_NE(get(*controller, spec::kPropertyVs, 7).status, 0);
    EXPECT_EQ(get(*controller, spec::kPropertyVs, spec::kProperty4Bytes).dw0, spec::kVersion14);
}

TEST_F(ControllerTest, IoConnect_limits_nameTheParameter) {
    auto controller = make();
    set_cc(*controller, kEnabled);
    std::uint32_t dw0 = 0;
    EXPECT_EQ(controller->check_io_connect(64, 1023, dw0), 0);
    EXPECT_NE(controller->check_io_connect(65, 31, dw0), 0);
    EXPECT_EQ(dw0, 42U);
    EXPECT_NE(controller->check_io_connect(1, 1024, dw0), 0);
    EXPECT_EQ(dw0, 44U);
    EXPECT_NE(controller->check_io_connect(1, 0, dw0), 0);
}

TEST_F(ControllerTest, Events_areMaskedUntilTheLogIsRead) {
    auto controller = make();
    set_cc(*controller, kEnabled);
    EXPECT_TRUE(request_event(*controller, 1).pending);
    EXPECT_TRUE(request_event(*controller, 2).pending);
    controller->namespace_changed(5);
    controller->namespace_changed(3);
    ASSERT_EQ(transport_.events.size(), 1U);
    EXPECT_EQ(transport_.events[0].token, 1U);
    EXPECT_EQ(transport_.events[0].dw0, spec::kNoticeNamespaces);

    std::vector<std::byte> log(4096);
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::GetLogPage);
    spec::set_log_page_range(command, spec::LogPage::ChangedNamespaces, 0, 4096);
    EXPECT_EQ(controller->execute(command, log, 0).status, 0);
    EXPECT_EQ(log[0], std::byte{3});
    EXPECT_EQ(log[4], std::byte{5});
    EXPECT_EQ(transport_.events.size(), 1U);
    controller->namespace_changed(1);
    ASSERT_EQ(transport_.events.size(), 2U);
    EXPECT_EQ(transport_.events[1].token, 2U);
}

TEST_F(ControllerTest, Event_beforeAnyRequest_waitsForOne) {
    auto controller = make();
    set_cc(*controller, kEnabled);
    controller->namespace_changed(5);
    EXPECT_TRUE(transport_.events.empty());
    request_event(*controller, 9);
    EXPECT_EQ(transport_.events.size(), 1U);
}

TEST_F(ControllerTest, ChangedNamespaces_moreThanTheLogHolds_readsAsOverflow) {
    Subsystem large({.nqn = "nqn.y", .serial = "S", .model = "M", .max_namespaces = 2000});
    Controller controller(reactor(), transport_, &large, nullptr, options_);
    set_cc(controller, kEnabled);
    for (std::uint32_t nsid = 1; nsid <= 1025; ++nsid) {
        controller.namespace_changed(nsid);
    }
    std::vector<std::byte> log(4096);
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::GetLogPage);
    spec::set_log_page_range(command, spec::LogPage::ChangedNamespaces, 0, 4096);
    controller.execute(command, log, 0);
    EXPECT_EQ(log[0], std::byte{0xff});
    EXPECT_EQ(log[3], std::byte{0xff});
    EXPECT_EQ(log[4], std::byte{0});
}

TEST_F(ControllerTest, KeepAlive_expires_andEveryCommandPutsItOff) {
    options_.keep_alive_ms = 500;
    auto controller = make();
    set_cc(*controller, kEnabled);
    spec::Command alive{};
    alive.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::KeepAlive);
    const core::Nanos begin = reactor().now();
    turn_until([&] {
        if (reactor().now() - begin < std::chrono::milliseconds(700)) {
            controller->execute(alive, {}, 0);
        }
        return transport_.ends > 0;
    });
    EXPECT_TRUE(controller->keep_alive_expired());
    EXPECT_GE(reactor().now() - begin, std::chrono::milliseconds(1150));
}

TEST_F(ControllerTest, AnyAdminCommand_getsAnAnswer) {
    auto controller = make();
    Namespace one;
    one.nsid = 1;
    one.geometry.block_count = 10;
    subsystem_.add(one);
    set_cc(*controller, kEnabled);
    core::Prng prng(5);
    std::vector<std::byte> memory(controller->max_transfer_bytes());
    int finished = 0;
    for (int i = 0; i < 20000; ++i) {
        spec::Command command{};
        constexpr std::array kOpcodes{0x02, 0x06, 0x08, 0x09, 0x0a, 0x18, 0x55};
        command.opcode = static_cast<std::uint8_t>(kOpcodes[prng.below(kOpcodes.size())]);
        command.nsid =
            static_cast<std::uint32_t>(prng.below(4) == 0 ? prng.next() : prng.below(10));
        command.cdw10 = static_cast<std::uint32_t>(
            prng.below(2) == 0 ? prng.next() : prng.below(256) | (prng.below(2048) << 16U));
        command.cdw11 = static_cast<std::uint32_t>(prng.below(2) == 0 ? 0 : prng.next());
        command.cdw12 = static_cast<std::uint32_t>(prng.below(2) == 0 ? 0 : prng.next());
        const AdminPlan plan = controller->plan(command);
        if (plan.status == 0) {
            ASSERT_LE(plan.bytes, memory.size());
            const auto data = std::span(memory).first(plan.bytes);
            controller->execute(command, data, 0);
            if (!transport_.gathered.empty()) {
                transport_.gathered.clear();
                ++finished;
                EXPECT_EQ(controller->finish(command, data, {.controllers = {7, 3}}), 0);
            }
        }
    }
    EXPECT_GT(finished, 0);
    subsystem_.remove(1);
}

TEST(ControllerList, FromAnIdOn_isAscendingAndBounded) {
    const std::vector<std::uint16_t> some{9, 2, 0xffef, 5};
    const spec::ControllerList from = controller_list(some, 5);
    EXPECT_EQ(from.count, 3U);
    EXPECT_EQ(from.cntlid[0], 5U);
    EXPECT_EQ(from.cntlid[1], 9U);
    EXPECT_EQ(from.cntlid[2], 0xffefU);
    EXPECT_EQ(from.cntlid[3], 0U);
    EXPECT_EQ(controller_list(some, 0xfff0).count, 0U);

    std::vector<std::uint16_t> many;
    for (std::uint16_t id = 3000; id >= 1; --id) {
        many.push_back(id);
    }
    const spec::ControllerList first = controller_list(many, 0);
    EXPECT_EQ(first.count, spec::kControllerListEntries);
    EXPECT_EQ(first.cntlid[0], 1U);
    EXPECT_EQ(first.cntlid[2046], 2047U);
    const spec::ControllerList rest = controller_list(many, 2048);
    EXPECT_EQ(rest.count, 953U);
    EXPECT_EQ(rest.cntlid[952], 3000U);
}

}  // namespace
}  // namespace remora::nvme
