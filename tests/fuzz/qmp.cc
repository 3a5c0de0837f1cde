// SPDX-License-Identifier: Apache-2.0
// Target: what QEMU's monitor says. The real platform connects, lists, plugs and unplugs against a
// monitor whose lines come from the input.
//
//   input: one line for the greeting, then one a command
//     =JSON   the command's `return` value, with the right id
//     -CLASS  an error of that class, with the right id
//     !TEXT   this line first, then the next line of the input (an event)
//     <TEXT   these bytes without an end of line, then the next line of the input
//     ^TEXT   a `return` value of arrays in each other, a thousand deep for each byte of TEXT
//     .       no answer        #   the connection ends        nothing: the usual answer
//     other   this line as it is
//
// Every call ends, errors say something, and what is taken for an answer keeps its limits.
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include "platform/qemu_platform.h"
#include "platform/qmp_answers.h"
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/world.h"

namespace remora::fuzz {
namespace {

using json = platform::QmpClient::Json;
using reactor::Task;

const reactor::Endpoint kMonitor = reactor::Endpoint::unix_path("/fuzz/qmp");
constexpr std::string_view kGreeting =
    R"({"QMP": {"version": {"qemu": {"major": 9, "minor": 2}}}})";

class Monitor final : private reactor::AcceptHandler, private reactor::ReadyHandler {
  public:
    Monitor(reactor::Reactor& reactor, Input& input)
        : reactor_(reactor), input_(input), acceptor_(*reactor.io().listen(kMonitor, *this)) {}
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;
    ~Monitor() = default;

    void close() {
        stream_.reset();
        acceptor_.reset();
    }

  private:
    std::string next_line() {
        const auto text = rest_.substr(0, rest_.find('\n'));
        rest_.remove_prefix(std::min(rest_.size(), text.size() + 1));
        return std::string(text);
    }

    void on_accept(reactor::Handle connection) override {
        if (!begun_) {
            const auto bytes = input_.rest();
            rest_ = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
            begun_ = true;
        }
        stream_ = std::move(*reactor_.io().adopt_stream(connection));
        stream_->set_handler(this);
        say(std::string(kGreeting), 0, next_line());
    }

    void on_ready(reactor::Readiness /*readiness*/) override {
        std::array<std::byte, 4096> bytes;
        std::ptrdiff_t got = 1;
        while (got > 0) {
            const core::Segment into{bytes.data(), bytes.size()};
            got = stream_->recv(std::span(&into, 1));
            if (got > 0) {
                received_.append(reinterpret_cast<const char*>(bytes.data()),
                                 static_cast<std::size_t>(got));
            }
        }
        if (got != -EAGAIN) {
            end();
            return;
        }
        while (stream_ != nullptr && received_.find('\n') != std::string::npos) {
            const json command = json::parse(received_.substr(0, received_.find('\n')));
            received_.erase(0, received_.find('\n') + 1);
            const std::string name = command.at("execute");
            const bool list = name == "qom-list" || name.starts_with("query-");
            const std::uint64_t id = command.at("id");
            json usual{{"return", list ? json::array() : json::object()}, {"id", id}};
            say(usual.dump(), id, next_line());
        }
    }

    void say(const std::string& usual, std::uint64_t id, std::string line) {
        const std::string end = ", \"id\": " + std::to_string(id) + "}\r\n";
        // Each line says one thing; `!` and `<` take the next one as well.
        for (int i = 0; i < kMostLines && !line.empty() && (line[0] == '!' || line[0] == '<');
             ++i) {
            send(line.substr(1) + (line[0] == '!' ? "\n" : ""));
            line = next_line();
        }
        const std::string text = line.empty() ? "" : line.substr(1);
        if (line.empty()) {
            send(usual + "\r\n");
        } else if (line[0] == '=') {
            send("{\"return\": " + text + end);
        } else if (line[0] == '-') {
            send(R"({"error": {"class": ")" + text + R"(", "desc": "no"})" + end);
        } else if (line[0] == '^') {
            const std::size_t deep = 1000 * std::min<std::size_t>(text.size(), 200);
            send("{\"return\": " + std::string(deep, '[') + std::string(deep, ']') + end);
        } else if (line[0] == '#') {
            end_soon();
        } else if (line[0] != '.') {
            send(line + "\n");
        }
    }

    void send(const std::string& text) {
        if (stream_ == nullptr || text.empty()) {
            return;
        }
        const core::Segment segment{reinterpret_cast<std::byte*>(const_cast<char*>(text.data())),
                                    text.size()};
        static_cast<void>(stream_->send(std::span(&segment, 1)));
    }
    void end_soon() { stream_->shutdown_send(); }
    void end() {
        stream_.reset();
        received_.clear();
    }

    static constexpr int kMostLines = 64;
    reactor::Reactor& reactor_;
    Input& input_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::unique_ptr<reactor::Stream> stream_;
    std::string_view rest_;
    std::string received_;
    bool begun_ = false;
};

template <typename R>
bool told(const R& result) {
    CHECK(result.has_value() || !result.error().message.empty());
    return result.has_value();
}

void check_address(const std::string& address) {
    CHECK(address.empty() || (address.size() >= 12 && address.starts_with("0000:")));
}

Task<> use(platform::QemuPlatform& qemu) {
    for (int round = 0; round < 2; ++round) {
        const auto listed = co_await qemu.list();
        if (told(listed)) {
            for (const auto& device : *listed) {
                CHECK(device.function.pf < platform::kMaxFunctions &&
                      device.function.vf <= platform::kMaxVirtualFunctions);
                check_address(device.pci_address);
            }
        }
        const auto plugged = co_await qemu.plug(
            {.function = static_cast<std::uint32_t>(round), .socket_path = "/p", .queues = 2});
        if (told(plugged)) {
            check_address(*plugged);
        }
        const auto unplugged = co_await qemu.unplug(0);
        static_cast<void>(told(unplugged));
        static_cast<void>(qemu.trouble());
    }
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace remora;
    fuzz::Input input(data, size);
    fuzz::World world;
    world.run([&]() -> reactor::Task<> {
        fuzz::Monitor monitor(world.reactor, input);
        // Short waits: what is asked again and again in them is nothing new.
        const platform::QemuLimits limits{.unplug_try = std::chrono::seconds(2),
                                          .unplug_total = std::chrono::seconds(5),
                                          .address = std::chrono::milliseconds(30)};
        platform::QemuPlatform qemu(
            fuzz::kMonitor, {{0, {"br1", 1}}, {1, {"br1", 2}}, {{1, 1}, {"br1", 3}}}, limits);
        co_await fuzz::use(qemu);
        co_await qemu.stop();
        monitor.close();
        co_return;
    });
    return 0;
}
