// SPDX-License-Identifier: Apache-2.0
// SimIo: reactor::Io of one simulated reactor. It keeps the contract at the head of reactor/io.h
// to the letter and is as unkind as it allows: readiness comes late, in any order and once; sends
// are short; file operations complete out of order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/intrusive_list.h"
#include "core/prng.h"
#include "reactor/io.h"
#include "tests/sim/world/connection.h"
#include "tests/sim/world/process.h"

namespace remora::sim {

/// Something of this Io that can have news for its handler. In the Io's list of all while it
/// lives, and of the ready ones while it has news.
class Source : public core::ListHook<Source> {
  public:
    explicit Source(SimIo& io);
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source();
    /// Calls the handler. From SimIo::poll() only.
    virtual void dispatch() = 0;
    /// The process is gone: give back what the world must take back.
    virtual void abandon(bool power_lost) = 0;

  protected:
    void has_news();
    SimIo& io_;

  private:
    friend class SimIo;
    bool ready_ = false;
};

class SimIo final : public reactor::Io {
  public:
    SimIo(Process& process, Core& core, core::Prng prng);
    ~SimIo() override;

    core::Result<std::unique_ptr<reactor::Acceptor>> listen(
        const reactor::Endpoint& at, reactor::AcceptHandler& handler) override;
    std::unique_ptr<reactor::Connecting> connect(const reactor::Endpoint& to,
                                                 reactor::ConnectHandler& handler) override;
    core::Result<std::unique_ptr<reactor::Stream>> adopt_stream(Handle connection) override;
    core::Result<std::unique_ptr<reactor::File>> open_file(
        const std::string& path, const reactor::FileOptions& options) override;
    core::Result<std::shared_ptr<reactor::EventSource>> take_event(Handle handle) override;
    std::unique_ptr<reactor::Event> open_event(
        std::shared_ptr<reactor::EventSource> source) override;
    core::Result<std::unique_ptr<reactor::Mapping>> map(Handle handle,
                                                        std::uint64_t offset,
                                                        std::uint64_t size) override;
    core::Result<Handle> create_shared_memory(std::uint64_t size) override;
    void close(Handle handle) override;
    bool poll() override;
    bool wait(core::Nanos timeout) override;
    void wake() override;

    Process& process() { return process_; }
    World& world();
    /// Something here is ready: the reactor is to turn.
    void mark_ready(Source& source);
    [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
    void forget(Source& source);
    void abandon(bool power_lost);

  private:
    friend class Source;
    Process& process_;
    Core& core_;
    core::Prng prng_;
    core::List<Source, Source> all_;
    std::vector<Source*> ready_;
};

}  // namespace remora::sim
