// SPDX-License-Identifier: Apache-2.0
// SimQemu: a QEMU process with its guest, as far as remorad sees it: a machine protocol monitor,
// character devices that connect, vhost-user-blk devices on PCI buses, and a guest that uses each
// disk, lets go of it when asked to, or does not. Semantics follow QEMU 9.2.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/prng.h"
#include "core/result.h"
#include "reactor/gate.h"
#include "reactor/reactor.h"
#include "tests/sim/host/guest_disk.h"
#include "tests/sim/host/host_world.h"
#include "tests/sim/host/hostile.h"
#include "tests/sim/host/qmp_server.h"
#include "tests/sim/host/vhost_master.h"

namespace remora::sim {

/// What goes wrong, in cases of a thousand. All zero: a well-behaved host.
struct QemuFaults {
    std::uint32_t refuse = 0;  ///< Commands answered with an error and not carried out.
    std::uint32_t late = 0;    ///< Answers that come late, by up to `late_most`.
    reactor::Nanos late_most{std::chrono::seconds(30)};
    std::uint32_t mute = 0;             ///< Commands carried out and never answered.
    std::uint32_t drop = 0;             ///< Monitor connections that end at some byte.
    std::uint32_t unplug_refused = 0;   ///< Devices whose guest refuses to let go at first,
    std::uint32_t unplug_refusals = 3;  ///< up to so many times.
    std::uint32_t ejected = 0;          ///< Devices that the guest lets go of by its own will,
    reactor::Nanos ejected_within{std::chrono::seconds(60)};  ///< after up to so long.
};

struct SimQemuOptions {
    std::string monitor_path;
    int version_major = 9;
    int version_minor = 2;
    std::vector<std::string> buses;  ///< Names of PCI buses with hot-plug; empty: any name is one.
    reactor::Nanos realize_limit{std::chrono::seconds(5)};      ///< device_add waits so long.
    reactor::Nanos command_most{std::chrono::milliseconds(5)};  ///< A command takes up to so long.
    reactor::Nanos guest_most{
        std::chrono::milliseconds(200)};  ///< A guest reacts in up to so long.
    reactor::Nanos chardev_most{std::chrono::milliseconds(40)};  ///< Busy so long after a device.
    MasterLimits master;
    QemuFaults faults;
};

class SimQemu {
  public:
    SimQemu(reactor::Reactor& reactor, HostWorld& world, core::Prng prng, SimQemuOptions options);
    SimQemu(const SimQemu&) = delete;
    SimQemu& operator=(const SimQemu&) = delete;
    /// Requires stop(), or that start() was never called.
    ~SimQemu();

    /// Listens for monitors. On the reactor.
    core::Result<void> start();
    /// The end of the process, in good order: everything in flight is forgotten.
    reactor::Task<> stop();

    /// From now on these faults; a default-made one is calm.
    void set_faults(const QemuFaults& faults);
    void drop_monitor() { qmp_.drop_connection(); }

    /// The disks the guest has, by device id. Valid until the next turn.
    [[nodiscard]] std::vector<GuestDisk*> disks() const;
    [[nodiscard]] std::vector<HostileGuest*> hostile_guests() const;
    /// The disk behind a socket; null when none is plugged.
    [[nodiscard]] GuestDisk* disk_behind(const std::string& socket_path) const;
    /// The front end of the disk behind a socket; null when none is plugged.
    [[nodiscard]] VhostMaster* master_behind(const std::string& socket_path) const;
    /// The guest crashes and starts again; the devices stay. In a turn of the reactor.
    void reboot_guest();
    /// Whether no device is on its way out or being started again.
    [[nodiscard]] bool at_rest() const;

  private:
    using Json = QmpServer::Json;
    using Command = QmpServer::Command;

    struct Chardev {
        std::string path;
        std::unique_ptr<VhostMaster> master;
        std::string user;             ///< The device that has it.
        reactor::Nanos busy_until{};  ///< Its last device is being freed.
    };
    struct Device {
        std::uint64_t serial = 0;
        std::string chardev;
        std::string bus;
        unsigned slot = 0;
        std::unique_ptr<GuestDisk> disk;
        std::unique_ptr<HostileGuest> hostile;
        reactor::Nanos unplug_until{};  ///< Asked to go, and not to be asked again before.
        std::uint32_t refusals = 0;     ///< So many times the guest will refuse.
        bool rebooting = false;
        bool leaving = false;  ///< The guest lets go.
    };
    /// How a command went.
    struct Outcome {
        Json value = Json::object();
        std::string error;  ///< Empty: it went well.
        std::string kind = "GenericError";
    };
    static Outcome done(Json value) { return {std::move(value), {}, {}}; }
    static Outcome failed(std::string error, std::string kind = "GenericError") {
        return {Json::object(), std::move(error), std::move(kind)};
    }

    reactor::Task<> serve();
    reactor::Task<Outcome> execute(const Command& command);
    Outcome add_chardev(const Json& arguments);
    reactor::Task<Outcome> remove_chardev(std::string id);
    Outcome refuse_device(const Json& arguments) const;
    reactor::Task<Outcome> add_device(Json arguments);
    reactor::Task<Outcome> realize(std::string id, Device& device);
    Outcome delete_device(const std::string& id);
    Outcome list_objects(const std::string& path) const;
    Outcome get_property(const std::string& path, const std::string& property) const;
    Outcome query_chardevs() const;
    Outcome query_pci() const;

    reactor::Task<> reboot(std::string id, std::uint64_t serial);
    reactor::Task<> probe(std::string id, std::uint64_t serial);
    reactor::Task<> let_go(std::string id, std::uint64_t serial, bool asked);
    void let_go_of_others(std::uint64_t serial);
    reactor::Task<> wait_and_eject(std::string id, std::uint64_t serial, reactor::Nanos after);
    reactor::Task<> remove(std::string id, std::uint64_t serial);
    reactor::Task<> pause(reactor::Nanos most);
    Device* find(const std::string& id, std::uint64_t serial);
    bool hits(std::uint32_t per_mille) { return prng_.below(1000) < per_mille; }
    reactor::Nanos up_to(reactor::Nanos most);

    reactor::Reactor& reactor_;
    HostWorld& world_;
    core::Prng prng_;
    SimQemuOptions options_;
    QmpServer qmp_;
    reactor::Gate gate_;
    std::map<std::string, Chardev> chardevs_;
    std::map<std::string, Device> devices_;
    std::uint64_t next_serial_ = 1;
    bool stopping_ = false;
};

}  // namespace remora::sim
