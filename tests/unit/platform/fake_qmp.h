// SPDX-License-Identifier: Apache-2.0
// FakeQmp: a scripted monitor on a real unix socket, on the test's reactor. It keeps the devices
// and character devices a QEMU would, and can be told to misbehave.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "reactor/io.h"
#include "reactor/reactor.h"

namespace remora::test {

class FakeQmp final : private reactor::AcceptHandler, private reactor::ReadyHandler {
  public:
    using Json = nlohmann::json;

    FakeQmp() {
        std::string pattern = testing::TempDir() + "remora-qmp-XXXXXX";
        directory_ = ::mkdtemp(pattern.data());
    }
    ~FakeQmp() { std::filesystem::remove_all(directory_); }

    void listen(reactor::Reactor& reactor) {
        reactor_ = &reactor;
        acceptor_ = std::move(*reactor.io().listen(endpoint(), *this));
    }
    void close() {
        stream_.reset();
        acceptor_.reset();
    }
    void drop_connection() { stream_.reset(); }

    [[nodiscard]] reactor::Endpoint endpoint() const {
        return reactor::Endpoint::unix_path(directory_ + "/qmp");
    }

    void send_text(const std::string& text) {
        const core::Segment segment{reinterpret_cast<std::byte*>(const_cast<char*>(text.data())),
                                    text.size()};
        (void)stream_->send({&segment, 1});
    }
    void send(const Json& message) { send_text(message.dump() + "\r\n"); }
    void deleted(const std::string& device) {
        devices.erase(device);
        send({{"event", "DEVICE_DELETED"}, {"data", {{"device", device}, {"path", "/x"}}}});
    }

    std::string greeting = R"({"QMP": {"version": {"qemu": {"major": 7, "minor": 2}}}})";
    std::map<std::string, Json> devices;   ///< id -> device_add's arguments
    std::map<std::string, Json> chardevs;  ///< id -> chardev-add's arguments
    std::vector<std::string> commands;     ///< in the order they came
    bool guest_lets_go = true;
    bool event_first = false;      ///< DEVICE_DELETED overtakes device_del's answer.
    int guest_errors = 0;          ///< So many requests to unplug the guest turns down.
    bool mute_device_add = false;  ///< Carries device_add out and does not say so.
    int ignore_device_del = 0;     ///< So many requests to unplug have no effect.
    int busy_chardevs = 0;         ///< So many chardev-removes are refused.
    std::string refuse;            ///< This command fails.
    std::function<bool(const Json&)> intercept;  ///< True: it has answered by itself.

  private:
    void on_accept(reactor::Handle connection) override {
        stream_ = std::move(*reactor_->io().adopt_stream(connection));
        stream_->set_handler(this);
        send_text(greeting + "\r\n");
    }
    void on_ready(reactor::Readiness /*readiness*/) override {
        std::array<std::byte, 4096> bytes{};
        const core::Segment into{bytes.data(), bytes.size()};
        for (;;) {
            const auto got = stream_->recv({&into, 1});
            if (got <= 0) {
                break;
            }
            input_.append(reinterpret_cast<const char*>(bytes.data()),
                          static_cast<std::size_t>(got));
        }
        for (auto end = input_.find('\n'); end != std::string::npos && stream_ != nullptr;
             end = input_.find('\n')) {
            const Json message = Json::parse(input_.substr(0, end));
            input_.erase(0, end + 1);
            take(message);
        }
    }
    void take(const Json& message) {
        const std::string command = message.at("execute");
        commands.push_back(command);
        if (intercept && intercept(message)) {
            return;
        }
        const Json arguments = message.value("arguments", Json::object());
        if (command == refuse) {
            error(message, "GenericError", "refused by the test");
        } else if (command == "chardev-add") {
            add(message, chardevs, arguments.at("id"), arguments);
        } else if (command == "device_add") {
            if (mute_device_add) {
                devices.emplace(arguments.at("id"), arguments);
            } else {
                add(message, devices, arguments.at("id"), arguments);
            }
        } else if (command == "chardev-remove") {
            remove_chardev(message, arguments.at("id"));
        } else if (command == "qom-get") {
            answer_address(message, arguments.at("path"));
        } else if (command == "device_del") {
            delete_device(message, arguments.at("id"));
        } else {
            answer(message, query(command));
        }
    }
    void add(const Json& message,
             std::map<std::string, Json>& to,
             std::string id,
             const Json& what) {
        if (!to.emplace(id, what).second) {
            error(message, "GenericError", "duplicate ID '" + id + "'");
            return;
        }
        answer(message, Json::object());
    }
    void remove_chardev(const Json& message, const std::string& id) {
        if (busy_chardevs > 0) {
            --busy_chardevs;
            error(message, "GenericError", "Chardev '" + id + "' is busy");
            return;
        }
        chardevs.erase(id);
        answer(message, Json::object());
    }
    void answer_address(const Json& message, const std::string& path) {
        const auto found = chardevs.find(path.substr(std::string("/chardevs/").size()));
        if (found == chardevs.end()) {
            error(message, "DeviceNotFound", "Device '" + path + "' not found");
            return;
        }
        const Json& address = found->second.at("backend").at("data").at("addr");
        answer(message, {{"type", "unix"}, {"path", address.at("data").at("path")}});
    }
    void delete_device(const Json& message, const std::string& id) {
        if (!devices.contains(id)) {
            error(message, "DeviceNotFound", "Device '" + id + "' not found");
            return;
        }
        if (event_first) {
            deleted(id);
            answer(message, Json::object());
            return;
        }
        answer(message, Json::object());
        if (ignore_device_del > 0) {
            --ignore_device_del;
        } else if (guest_errors > 0) {
            --guest_errors;
            send({{"event", "DEVICE_UNPLUG_GUEST_ERROR"},
                  {"data", {{"device", id}, {"path", "/x"}}}});
        } else if (guest_lets_go) {
            deleted(id);
        }
    }
    Json query(const std::string& command) {
        Json list = Json::array();
        if (command == "qom-list") {
            list.push_back({{"name", "type"}, {"type", "string"}});
            for (const auto& [id, arguments] : devices) {
                list.push_back({{"name", id}, {"type", "child<vhost-user-blk-pci>"}});
            }
            return list;
        }
        if (command == "query-chardev") {
            // A connected client's socket has no name of its own: that is all QEMU says.
            for (const auto& [id, arguments] : chardevs) {
                list.push_back({{"label", id}, {"filename", "unix:"}});
            }
            return list;
        }
        if (command == "query-pci") {
            Json behind = Json::array();
            for (const auto& [id, arguments] : devices) {
                const std::string slot = arguments.at("addr");
                behind.push_back({{"qdev_id", id},
                                  {"bus", 2},
                                  {"slot", std::stoi(slot, nullptr, 16)},
                                  {"function", 0}});
            }
            Json bridge{{"qdev_id", "br1"}, {"pci_bridge", {{"devices", behind}}}};
            return Json::array({{{"bus", 0}, {"devices", Json::array({bridge})}}});
        }
        return Json::object();
    }
    void answer(const Json& message, const Json& value) {
        send({{"return", value}, {"id", message.at("id")}});
    }
    void error(const Json& message, const std::string& kind, const std::string& text) {
        send({{"error", {{"class", kind}, {"desc", text}}}, {"id", message.at("id")}});
    }

    reactor::Reactor* reactor_ = nullptr;
    std::string directory_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::unique_ptr<reactor::Stream> stream_;
    std::string input_;
};

}  // namespace remora::test
