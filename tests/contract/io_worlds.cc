// SPDX-License-Identifier: Apache-2.0
#include "tests/contract/io_worlds.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include "core/check.h"
#include "reactor/linux/linux_io.h"
#include "tests/sim/world/sim_io.h"
#include "tests/sim/world/world.h"

namespace remora::test {

namespace {

using reactor::Endpoint;
using reactor::Handle;
using reactor::Io;
using namespace std::chrono_literals;

class NoAccept final : public reactor::AcceptHandler {
  public:
    void on_accept(Handle /*connection*/) override {}
};

class LinuxWorld final : public IoWorld {
  public:
    LinuxWorld() {
        for (auto& io : ios_) {
            io = std::move(*reactor::LinuxIo::create());
        }
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
    }
    LinuxWorld(const LinuxWorld&) = delete;
    LinuxWorld& operator=(const LinuxWorld&) = delete;
    ~LinuxWorld() override { std::filesystem::remove_all(directory_); }

    Io& io(std::size_t program) override { return *ios_[program]; }

    bool run_until(const std::function<bool()>& done) override {
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        while (!done()) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            poll_both();
        }
        return true;
    }
    void settle() override {
        // Loopback and unix sockets deliver within the sender's call; only the rings need polls.
        constexpr int kIdlePolls = 50;
        for (int idle = 0; idle < kIdlePolls; ++idle) {
            if (poll_both()) {
                idle = 0;
            }
        }
    }

    Endpoint free_tcp() override {
        // The port that the system picks for a listener is free once that is gone.
        NoAccept nobody;
        return (*ios_[1]->listen(Endpoint::tcp("127.0.0.1", 0), nobody))->local();
    }
    Endpoint foreign_tcp() override { return Endpoint::tcp("192.0.2.1", 4420); }  // RFC 5737
    std::string path(const std::string& name) override { return (directory_ / name).string(); }
    void leave_dead_listener(const std::string& path) override {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        CHECK(listen(fd, 1) == 0);
        close(fd);
    }
    Handle make_event(std::size_t /*program*/) override { return eventfd(0, EFD_CLOEXEC); }

  private:
    bool poll_both() {
        bool any = false;
        for (auto& io : ios_) {
            any |= io->poll();
        }
        return any;
    }

    std::array<std::unique_ptr<reactor::LinuxIo>, 2> ios_;
    std::filesystem::path directory_;
};

/// Simulated programs are never taken apart; kept here, they are no leak.
sim::World& keep(std::unique_ptr<sim::World> world) {
    static auto& kept = *new std::vector<std::unique_ptr<sim::World>>;
    kept.push_back(std::move(world));
    return *kept.back();
}

class SimWorld final : public IoWorld {
  public:
    SimWorld(std::uint64_t seed, std::initializer_list<sim::Fault> faults)
        : world_(keep(std::make_unique<sim::World>(seed))) {
        for (std::size_t i = 0; i < sim::kFaultCount; ++i) {
            world_.faults().disable(static_cast<sim::Fault>(i));
        }
        for (const sim::Fault fault : faults) {
            world_.faults().enable(fault);
        }
        machine_ = &world_.add_machine("here", "10.0.0.1");
        world_.add_machine("there", "10.0.0.2");
        for (std::size_t i = 0; i < processes_.size(); ++i) {
            processes_[i] = &start("program" + std::to_string(i));
        }
    }

    Io& io(std::size_t program) override { return *processes_[program]->cores().front()->io; }
    bool run_until(const std::function<bool()>& done) override {
        const bool reached = world_.run_until(done, world_.now() + 120s);
        CHECK(!world_.failed());
        return reached;
    }
    void settle() override {
        (void)world_.run_until([] { return false; }, world_.now() + 5s);
    }

    Endpoint free_tcp() override { return Endpoint::tcp("10.0.0.1", next_port_++); }
    Endpoint foreign_tcp() override { return Endpoint::tcp("10.0.0.2", 4420); }
    std::string path(const std::string& name) override { return "/run/" + name; }
    void leave_dead_listener(const std::string& path) override {
        sim::Process& dying = start("dying");
        static NoAccept nobody;
        auto acceptor = dying.cores().front()->io->listen(Endpoint::unix_path(path), nobody);
        CHECK(acceptor);
        dying.program = std::shared_ptr<reactor::Acceptor>(std::move(*acceptor));
        world_.kill(dying);
    }
    Handle make_event(std::size_t program) override {
        return processes_[program]->handles().add(std::make_shared<sim::EventCounter>());
    }

  private:
    sim::Process& start(const std::string& name) {
        sim::Process& process = world_.start_process(*machine_, name);
        process.add_core("0");
        world_.start(process);
        return process;
    }

    sim::World& world_;
    sim::Machine* machine_ = nullptr;
    std::array<sim::Process*, 2> processes_{};
    std::uint16_t next_port_ = 4420;
};

}  // namespace

std::unique_ptr<IoWorld> make_linux_world(std::uint64_t /*seed*/) {
    return std::make_unique<LinuxWorld>();
}

std::unique_ptr<IoWorld> make_calm_world(std::uint64_t seed) {
    return std::make_unique<SimWorld>(seed, std::initializer_list<sim::Fault>{});
}

std::unique_ptr<IoWorld> make_cutting_world(std::uint64_t seed) {
    return std::make_unique<SimWorld>(
        seed, std::initializer_list<sim::Fault>{sim::Fault::Split, sim::Fault::Delay,
                                                sim::Fault::EarlyWake});
}

}  // namespace remora::test
