// SPDX-License-Identifier: Apache-2.0
// QemuPlatform against a scripted monitor on a real socket: what it asks for, what it undoes, and
// a monitor that lies.
#include "platform/qemu_platform.h"

#include <algorithm>

#include "platform/qmp_answers.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/platform/fake_qmp.h"

namespace remora::test {

namespace {

using platform::PluggedDevice;
using platform::QemuPlatform;
using reactor::Task;

class QemuPlatformTest : public ReactorFixture {
  public:
    QemuPlatformTest() {
        on_reactor([this] { qemu.listen(reactor()); });
        limits.connect = std::chrono::milliseconds(300);
        limits.command = std::chrono::milliseconds(300);
        limits.unplug_try = std::chrono::milliseconds(30);
        limits.unplug_total = std::chrono::milliseconds(200);
        limits.address = std::chrono::milliseconds(50);
        make_platform();
    }
    ~QemuPlatformTest() override {
        end_platform();
        on_reactor([this] { qemu.close(); });
    }
    void make_platform() {
        platform::FunctionPlaces places = *platform::parse_functions("br1:1-31,rp[0-2]");
        EXPECT_TRUE(platform::add_virtual_functions("1=br2:4-5", places));
        platform = std::make_unique<QemuPlatform>(qemu.endpoint(), std::move(places), limits);
    }
    void end_platform() {
        run([&]() -> Task<> { co_await platform->stop(); });
        on_reactor([this] { platform.reset(); });
    }
    /// Waits so long that a missed event shows as a test that takes too long.
    void be_patient() {
        end_platform();
        limits.unplug_try = std::chrono::seconds(8);
        limits.unplug_total = std::chrono::seconds(16);
        make_platform();
    }
    template <typename F>
    void on_reactor(F body) {
        bool done = false;
        reactor().post_function([&] {
            body();
            done = true;
        });
        turn_until([&] { return done; });
    }
    core::Result<std::string> plug(core::HostFunction function,
                                   const std::string& socket = "/s/x") {
        core::Result<std::string> result;
        run([&]() -> Task<> { result = co_await platform->plug({function, socket, 2}); });
        return result;
    }
    static platform::PlugRequest nvme(core::HostFunction function, const std::string& socket) {
        return {function, socket, 16, platform::DeviceKind::Nvme};
    }
    core::Result<void> unplug(core::HostFunction function) {
        core::Result<void> result;
        run([&]() -> Task<> { result = co_await platform->unplug(function); });
        return result;
    }
    core::Result<std::vector<PluggedDevice>> list() {
        core::Result<std::vector<PluggedDevice>> result;
        run([&]() -> Task<> { result = co_await platform->list(); });
        return result;
    }
    std::ptrdiff_t count(const std::string& command) const {
        return std::count(qemu.commands.begin(), qemu.commands.end(), command);
    }

    FakeQmp qemu;
    platform::QemuLimits limits;
    std::unique_ptr<QemuPlatform> platform;
};

TEST_F(QemuPlatformTest, Plug_makesSocketAndDevice_andTellsTheAddress) {
    const auto address = plug(1, "/s/disk");

    ASSERT_TRUE(address) << address.error().message;
    EXPECT_EQ(*address, "0000:02:02.0");
    const auto& device = qemu.devices.at("remora-1");
    EXPECT_EQ(device.at("driver"), "vhost-user-blk-pci");
    EXPECT_EQ(device.at("bus"), "br1");
    EXPECT_EQ(device.at("addr"), "2");
    EXPECT_EQ(device.at("num-queues"), 2);
    const auto& data = qemu.chardevs.at("remora-1").at("backend").at("data");
    EXPECT_EQ(data.at("reconnect"), 1);
    EXPECT_EQ(data.at("server"), false);
    EXPECT_EQ(data.at("addr").at("data").at("path"), "/s/disk");
}

TEST_F(QemuPlatformTest, Plug_newerQemu_reconnectsInMilliseconds) {
    qemu.greeting = R"({"QMP": {"version": {"qemu": {"major": 11, "minor": 1}}}})";

    ASSERT_TRUE(plug(0));

    EXPECT_EQ(qemu.chardevs.at("remora-0").at("backend").at("data").at("reconnect-ms"), 1000);
}

TEST_F(QemuPlatformTest, Plug_again_changesNothing) {
    ASSERT_TRUE(plug(0));
    ASSERT_TRUE(plug(0));
    EXPECT_EQ(count("device_add"), 1);
    EXPECT_EQ(count("qmp_capabilities"), 1) << "one connection is kept";
}

TEST_F(QemuPlatformTest, Plug_strayOnTheFunction_isReplaced) {
    ASSERT_TRUE(plug(0, "/s/of-another-state"));

    ASSERT_TRUE(plug(0, "/s/ours"));

    EXPECT_EQ(count("device_del"), 1);
    const auto& data = qemu.chardevs.at("remora-0").at("backend").at("data");
    EXPECT_EQ(data.at("addr").at("data").at("path"), "/s/ours");
}

TEST_F(QemuPlatformTest, Plug_deviceRefused_leavesNoSocket) {
    qemu.refuse = "device_add";

    const auto address = plug(0);

    ASSERT_FALSE(address);
    EXPECT_EQ(address.error().kind, core::ErrorKind::FailedPrecondition);
    EXPECT_NE(address.error().message.find("refused by the test"), std::string::npos);
    EXPECT_TRUE(qemu.chardevs.empty());
}

TEST_F(QemuPlatformTest, Plug_leftoverSocket_isReplaced) {
    qemu.chardevs["remora-0"] = {
        {"backend", {{"data", {{"addr", {{"data", {{"path", "/old"}}}}}}}}}};

    ASSERT_TRUE(plug(0, "/new"));

    const auto& data = qemu.chardevs.at("remora-0").at("backend").at("data");
    EXPECT_EQ(data.at("addr").at("data").at("path"), "/new");
}

TEST_F(QemuPlatformTest, Plug_functionWithoutAPlace_isResourceExhausted) {
    EXPECT_EQ(platform->function_counts().physical, 34U);
    EXPECT_EQ(platform->function_counts().all_virtual(), 2U);
    const auto address = plug(34);
    ASSERT_FALSE(address);
    EXPECT_EQ(address.error().kind, core::ErrorKind::ResourceExhausted);
}

TEST_F(QemuPlatformTest, Unplug_waitsForTheGuest_thenRemovesTheSocket) {
    ASSERT_TRUE(plug(0));
    qemu.busy_chardevs = 2;

    ASSERT_TRUE(unplug(0));

    EXPECT_TRUE(qemu.devices.empty());
    EXPECT_TRUE(qemu.chardevs.empty());
}

TEST_F(QemuPlatformTest, Unplug_guestMissedTheRequest_isAskedAgain) {
    ASSERT_TRUE(plug(0));
    qemu.ignore_device_del = 2;

    ASSERT_TRUE(unplug(0));

    EXPECT_EQ(count("device_del"), 3);
}

TEST_F(QemuPlatformTest, Unplug_guestNeverLetsGo_endsAndKeepsTheDevice) {
    ASSERT_TRUE(plug(0));
    qemu.guest_lets_go = false;

    const auto gone = unplug(0);

    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().kind, core::ErrorKind::DeadlineExceeded);
    EXPECT_EQ(qemu.devices.size(), 1U);
    EXPECT_EQ(qemu.chardevs.size(), 1U);
    qemu.guest_lets_go = true;
    EXPECT_TRUE(unplug(0));
}

// Subscribed before it is asked: also an event that overtakes the answer is heard.
TEST_F(QemuPlatformTest, Unplug_eventBeforeTheAnswer_isNotMissed) {
    be_patient();
    ASSERT_TRUE(plug(0));
    qemu.event_first = true;
    const core::Nanos before = reactor().measure_now();

    ASSERT_TRUE(unplug(0));

    EXPECT_LT(reactor().measure_now() - before, limits.unplug_try / 2);
    EXPECT_EQ(count("device_del"), 1);
}

TEST_F(QemuPlatformTest, Unplug_guestTurnsItDown_isAskedAgainBeforeTheTryEnds) {
    be_patient();
    ASSERT_TRUE(plug(0));
    qemu.guest_errors = 1;
    const core::Nanos before = reactor().measure_now();

    ASSERT_TRUE(unplug(0));

    EXPECT_LT(reactor().measure_now() - before, limits.unplug_try / 2);
    EXPECT_EQ(count("device_del"), 2);
}

TEST_F(QemuPlatformTest, DeviceThatGoesUnasked_changesTheGeneration) {
    ASSERT_TRUE(plug(0));
    const auto before = platform->generation();

    on_reactor([this] { qemu.deleted("remora-0"); });

    turn_until([&] { return platform->generation() != before; });
}

TEST_F(QemuPlatformTest, Plug_answerLost_isTakenBack) {
    qemu.mute_device_add = true;

    const auto lost = plug(0);

    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().kind, core::ErrorKind::Unavailable);
    EXPECT_TRUE(qemu.devices.empty());
    EXPECT_TRUE(qemu.chardevs.empty());
}

TEST_F(QemuPlatformTest, Plug_answerLostAndGuestKeepsIt_saysThatItMayBeThere) {
    qemu.mute_device_add = true;
    qemu.guest_lets_go = false;

    const auto lost = plug(0);

    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().kind, core::ErrorKind::DeadlineExceeded);
    EXPECT_EQ(qemu.chardevs.size(), 1U) << "its socket stays with it";
}

TEST_F(QemuPlatformTest, Plug_addressNotTold_isPluggedAllTheSame) {
    qemu.intercept = [](const FakeQmp::Json& message) {
        return message.at("execute") == "query-pci";
    };

    const auto address = plug(0);

    ASSERT_TRUE(address);
    EXPECT_EQ(*address, "");
    EXPECT_EQ(qemu.devices.size(), 1U);
}

TEST_F(QemuPlatformTest, Unplug_whatIsGone_succeeds) {
    EXPECT_TRUE(unplug(5));
    EXPECT_EQ(count("device_del"), 0);
}

TEST_F(QemuPlatformTest, List_showsOursOnly) {
    ASSERT_TRUE(plug(0, "/s/0"));
    ASSERT_TRUE(plug(10, "/s/10"));
    qemu.devices["net0"] = {{"addr", "7"}};

    const auto devices = list();

    ASSERT_TRUE(devices);
    const std::vector<PluggedDevice> wanted{{0, "/s/0", "0000:02:01.0"},
                                            {10, "/s/10", "0000:02:0b.0"}};
    EXPECT_EQ(*devices, wanted);
}

TEST_F(QemuPlatformTest, Plug_nvme_isAVfioUserDevice_knownByItsTag) {
    core::Result<std::string> address;
    run([&]() -> Task<> { address = co_await platform->plug(nvme(1, "/s/nvme")); });

    ASSERT_TRUE(address) << address.error().message;
    const std::string tag = platform::socket_tag("/s/nvme");
    const auto& device = qemu.devices.at("remora-1-" + tag);
    EXPECT_EQ(device.at("driver"), "vfio-user-pci");
    EXPECT_EQ(device.at("socket").at("path"), "/s/nvme");
    EXPECT_EQ(device.at("bus"), "br1");
    EXPECT_TRUE(qemu.chardevs.empty());
    const auto devices = list();
    ASSERT_TRUE(devices);
    ASSERT_EQ(devices->size(), 1U);
    EXPECT_TRUE(devices->front().is_behind("/s/nvme"));
    EXPECT_FALSE(devices->front().is_behind("/s/other"));
    run([&]() -> Task<> { address = co_await platform->plug(nvme(1, "/s/nvme")); });
    EXPECT_EQ(count("device_add"), 1) << "again: it is there";

    EXPECT_TRUE(unplug(1));
    EXPECT_TRUE(qemu.devices.empty());
}

TEST_F(QemuPlatformTest, Plug_anotherKindAtTheFunction_isReplaced) {
    ASSERT_TRUE(plug(1, "/s/disk"));
    core::Result<std::string> address;
    run([&]() -> Task<> { address = co_await platform->plug(nvme(1, "/s/nvme")); });
    ASSERT_TRUE(address);
    EXPECT_EQ(qemu.devices.size(), 1U);
    EXPECT_TRUE(qemu.devices.contains("remora-1-" + platform::socket_tag("/s/nvme")));
    ASSERT_TRUE(plug(1, "/s/disk"));
    EXPECT_EQ(qemu.devices.size(), 1U);
    EXPECT_TRUE(qemu.devices.contains("remora-1"));
}

TEST_F(QemuPlatformTest, Plug_nvme_olderQemu_saysWhatIsNeeded) {
    qemu.refuse = "device_add";
    core::Result<std::string> address;
    run([&]() -> Task<> { address = co_await platform->plug(nvme(1, "/s/nvme")); });
    ASSERT_FALSE(address);
    EXPECT_NE(address.error().message.find("QEMU 10.1"), std::string::npos);
}

TEST_F(QemuPlatformTest, VirtualFunction_isADeviceOfItsOwn) {
    ASSERT_TRUE(plug(1, "/s/pf"));
    ASSERT_TRUE(plug({1, 2}, "/s/vf"));
    core::Result<std::string> address;
    run([&]() -> Task<> { address = co_await platform->plug(nvme({1, 1}, "/s/nvme")); });
    ASSERT_TRUE(address) << address.error().message;

    EXPECT_EQ(qemu.devices.at("remora-1").at("bus"), "br1");
    EXPECT_EQ(qemu.devices.at("remora-1.2").at("bus"), "br2");
    EXPECT_EQ(qemu.devices.at("remora-1.2").at("addr"), "5");
    EXPECT_EQ(qemu.devices.at("remora-1.1-" + platform::socket_tag("/s/nvme")).at("addr"), "4");
    const auto devices = list();
    ASSERT_TRUE(devices);
    EXPECT_EQ(devices->size(), 3U);
    EXPECT_TRUE(std::ranges::any_of(*devices, [](const PluggedDevice& device) {
        return device.function == core::HostFunction(1, 2) && device.socket_path == "/s/vf";
    }));

    ASSERT_TRUE(unplug({1, 2}));
    EXPECT_TRUE(qemu.devices.contains("remora-1")) << "the physical function stays";
    EXPECT_FALSE(qemu.devices.contains("remora-1.2"));
    EXPECT_EQ(qemu.chardevs.size(), 1U);
    for (const core::HostFunction absent : {core::HostFunction(1, 3), core::HostFunction(2, 1)}) {
        const auto refused = plug(absent);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().kind, core::ErrorKind::ResourceExhausted);
    }
}

TEST(DeviceIdTest, OtherIds_areNotOurs) {
    for (const char* id :
         {"remora-", "remora-x", "remora-64", "remora-1-", "remora-1-0123abc", "remora-1-0123abcde",
          "remora-1-0123ABCD", "remora-1x0123abcd", "net0", "remora-1-0123abcd-2", "remora--1",
          "remora-1.0", "remora-1.65", "remora-64.1", "remora-1.", "remora-1.2-", "remora-1.2.3"}) {
        EXPECT_FALSE(platform::parse_device_id(id)) << id;
    }
    EXPECT_EQ(platform::parse_device_id("remora-63")->tag, "");
    EXPECT_EQ(platform::parse_device_id("remora-7-0123abcd")->tag, "0123abcd");
    EXPECT_EQ(platform::parse_device_id("remora-7-0123abcd")->function, core::HostFunction(7));
    EXPECT_EQ(platform::parse_device_id("remora-7.2")->function, core::HostFunction(7, 2));
    EXPECT_EQ(platform::parse_device_id("remora-7.64-0123abcd")->function,
              core::HostFunction(7, 64));
    EXPECT_EQ(platform::parse_device_id("remora-7.64-0123abcd")->tag, "0123abcd");
}

TEST_F(QemuPlatformTest, LostConnection_isMadeAnewByTheNextCall) {
    ASSERT_TRUE(list());
    const auto before = platform->generation();
    on_reactor([this] { qemu.drop_connection(); });
    turn_until([&] { return !platform->trouble().empty(); });

    ASSERT_TRUE(list());

    EXPECT_NE(platform->generation(), before);
    EXPECT_TRUE(platform->trouble().empty());
}

TEST_F(QemuPlatformTest, NobodyListens_isUnavailable) {
    on_reactor([this] { qemu.close(); });

    const auto devices = list();

    ASSERT_FALSE(devices);
    EXPECT_EQ(devices.error().kind, core::ErrorKind::Unavailable);
    EXPECT_FALSE(platform->trouble().empty());
    const auto unplugged = unplug(7);
    ASSERT_FALSE(unplugged);
    EXPECT_EQ(unplugged.error().kind, core::ErrorKind::NotFound) << "there is no host";
}

TEST_F(QemuPlatformTest, HostileAnswers_endTheConnectionNotUs) {
    const std::vector<std::string> answers{
        "not json\n",
        "[1,2,3]\n",
        "{\"return\": {}}\n",
        "{\"return\": {}, \"id\": \"text\"}\n",
        "{\"return\": {}, \"id\": -1}\n",
        std::string(100000, '[') + "\n",
    };
    for (const std::string& answer : answers) {
        qemu.intercept = [&](const FakeQmp::Json& message) {
            if (message.at("execute") != "qom-list") {
                return false;
            }
            qemu.send_text(answer);
            return true;
        };
        const auto devices = list();
        ASSERT_FALSE(devices) << answer.substr(0, 40);
        EXPECT_EQ(devices.error().kind, core::ErrorKind::Unavailable) << answer.substr(0, 40);
        qemu.intercept = nullptr;
        EXPECT_TRUE(list()) << "the next connection is fine";
    }
}

TEST_F(QemuPlatformTest, HostileValues_areSimplyNotThere) {
    using Json = FakeQmp::Json;
    const std::vector<Json> values{Json(),
                                   7,
                                   "text",
                                   Json::array({1, "x", Json::object()}),
                                   Json::array({{{"name", 3}, {"type", "child<x>"}}}),
                                   Json::array({{{"name", "remora-99"}, {"type", "child<x>"}}})};
    for (const Json& value : values) {
        EXPECT_TRUE(platform::our_devices(value).empty());
        EXPECT_TRUE(platform::our_chardevs(value).empty());
        EXPECT_TRUE(platform::socket_path_of(value).empty());
        EXPECT_TRUE(platform::pci_address(value, "remora-0").empty());
    }
    Json nested = Json::array();
    for (int depth = 0; depth < 100; ++depth) {
        nested = Json::array({{{"pci_bridge", {{"devices", nested}}}}});
    }
    EXPECT_TRUE(platform::pci_address(Json::array({{{"devices", nested}}}), "remora-0").empty());
    const Json out_of_range = Json::array(
        {{{"devices", Json::array({{{"qdev_id", "remora-0"}, {"bus", 4096}, {"slot", -1}}})}}});
    EXPECT_TRUE(platform::pci_address(out_of_range, "remora-0").empty());
}

TEST_F(QemuPlatformTest, SilentMonitor_isGivenUp) {
    qemu.intercept = [](const FakeQmp::Json& message) {
        return message.at("execute") == "qom-list";
    };
    const auto devices = list();
    ASSERT_FALSE(devices);
    EXPECT_EQ(devices.error().kind, core::ErrorKind::DeadlineExceeded);
    qemu.intercept = nullptr;
}

TEST_F(QemuPlatformTest, NotAMonitor_isRefused) {
    qemu.greeting = "SSH-2.0-OpenSSH";
    const auto devices = list();
    ASSERT_FALSE(devices);
    EXPECT_EQ(devices.error().kind, core::ErrorKind::Unavailable);
}

}  // namespace

}  // namespace remora::test
