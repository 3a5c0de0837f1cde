// SPDX-License-Identifier: Apache-2.0
// Admin: the admin commands of an association as coroutines with typed answers. It owns the admin
// queue pair. On the reactor that made it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "backends/nvme_tcp/ana.h"
#include "backends/nvme_tcp/namespace_device.h"
#include "backends/nvme_tcp/queue_pair.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/features.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"

namespace remora::backends::nvme_tcp {

/// What Identify and the properties say about a controller, as far as it matters here.
struct ControllerFacts {
    std::uint64_t max_transfer_bytes = 0;  ///< 0: any.
    std::uint64_t max_zeroes_bytes = 0;    ///< 0: any.
    std::uint32_t max_discard_blocks = 0xffffffffU;
    std::uint32_t in_capsule_bytes = 0;  ///< Of I/O queues.
    std::uint32_t max_queue_entries = 0;
    std::uint32_t namespace_limit = 0;  ///< NN: no NSID is greater.
    bool can_discard = false;
    bool can_write_zeroes = false;
    bool volatile_cache = false;
    bool tells_namespace_changes = false;
    bool tells_ana_changes = false;
    AnaFacts ana;
    bool keeps_alive = false;
};

class Admin final : private QueuePairHandler {
  public:
    /// Told, once, when the connection ends.
    class Owner {
      public:
        virtual void on_admin_down(const core::Error& reason) = 0;

      protected:
        ~Owner() = default;
    };

    Admin(reactor::Reactor& reactor, Owner& owner, QueuePairOptions options, Nanos timeout);

    /// Connects and enables the controller: CC.EN, then CSTS.RDY within CAP.TO.
    Task<Result<void>> start();
    QueuePair& queue() { return queue_; }
    /// Limit of each of the commands below.
    void set_timeout(Nanos timeout) { timeout_ = timeout; }

    Task<Result<ControllerFacts>> identify_controller();
    /// Asks for `wanted` I/O queues; returns how many there are.
    Task<Result<std::uint32_t>> set_queue_count(std::uint32_t wanted);
    Task<Result<void>> set_event_mask(std::uint32_t events);
    Task<Result<void>> keep_alive(Nanos limit);
    /// Waits, without limit, for an asynchronous event; returns DW0.
    Task<Result<std::uint32_t>> await_event();
    /// The two of a scan: `deadline` is that of the whole of it, and a command's at the latest.
    Task<Result<std::vector<std::uint32_t>>> active_namespaces(std::uint32_t limit, Nanos deadline);
    /// Empty when the namespace is not there (any more), is of no use here, or cannot be described
    /// for now: then `ask_again` is set.
    Task<Result<std::optional<NamespaceIdentity>>> describe_namespace(std::uint32_t nsid,
                                                                      const ControllerFacts& facts,
                                                                      Nanos deadline,
                                                                      bool& ask_again);
    /// `specific`: the page's own bits of CDW10.
    Task<Result<void>> get_log(nvme::spec::LogPage page,
                               std::uint64_t offset,
                               std::span<std::byte> into,
                               std::uint32_t specific = 0,
                               Nanos deadline = core::kNever);
    /// The state of each ANA group, of a controller that reports them. Errors: Unavailable with
    /// what is wrong with the log page.
    Task<Result<std::map<std::uint32_t, AnaState>>> ana_states(const AnaFacts& facts,
                                                               Nanos deadline);
    /// Asks for the end of a command of an I/O queue. Whether that comes shows there.
    Task<Result<void>> abort(std::uint16_t queue_id, std::uint16_t cid);
    /// Tells the controller to end: a normal shutdown, or a reset that ends all outstanding
    /// commands. Best effort within `limit`. True: it has confirmed a reset (RDY 0).
    Task<bool> disable(bool shutdown, Nanos limit);

  private:
    void on_completions(std::span<const Completion> completions) override;
    void on_down(const core::Error& reason) override;

    Task<Result<CommandResult>> run(nvme::spec::Command entry,
                                    std::span<std::byte> into,
                                    Nanos deadline = core::kNever);
    /// The same; a status other than success is an error that says `what` failed.
    Task<Result<CommandResult>> must(nvme::spec::Command entry,
                                     std::span<std::byte> into,
                                     const char* what,
                                     Nanos deadline = core::kNever);
    Task<Result<std::map<std::uint32_t, AnaState>>> read_ana_log(const AnaFacts& facts,
                                                                 Nanos deadline,
                                                                 bool& changed);
    Task<Result<std::uint64_t>> get_property(std::uint32_t offset, bool wide);
    Task<Result<void>> set_property(std::uint32_t offset, std::uint32_t value);
    Task<Result<void>> enable();
    Task<Result<void>> await_ready(bool ready, Nanos deadline);
    Task<Result<CommandResult>> identify(nvme::spec::Cns cns,
                                         std::uint32_t nsid,
                                         std::span<std::byte> into,
                                         Nanos deadline = core::kNever);
    Task<> ask_command_set_limits(ControllerFacts& facts, std::uint64_t page_bytes);

    reactor::Reactor& reactor_;
    Owner& owner_;
    Nanos timeout_;
    QueuePair queue_;
    std::string subnqn_;
    std::uint64_t cap_ = 0;
    std::uint32_t configuration_ = 0;  // CC without EN and SHN
};

}  // namespace remora::backends::nvme_tcp
