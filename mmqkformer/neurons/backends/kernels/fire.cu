// The two kernels of a backend, of integrate-and-fire and of integer dynamics. Tensors are
// [T, count]: a step is one block of memory, steps lie x_step apart.

// Where there is a residual, the spikes are added to it.
KERNEL fire_forward(
    const Storage *x, Index x_step, const Storage *residual, Index residual_step, Storage *spikes,
    Index count, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(i, count) {
        Wide current[STEPS], h[STEPS];
        FOR_STEPS(t) current[t] = widen(x[t * x_step + i]);
        integrate(neuron, current, h);
        FOR_STEPS(t) {
            Wide spike = fires(neuron, h[t]);
            if (residual) spike += widen(residual[t * residual_step + i]);
            store(spikes + t * count + i, spike);
        }
    }
}

// The charges are computed again. grad_rates holds a sum for each thread, which are added in
// an order that does not depend on which thread ends first.
KERNEL fire_backward(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Storage *grad_x,
    Wide *grad_rates, Index count, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    Wide grad_rate = 0;
    FOR_EACH(i, count) {
        Wide current[STEPS], h[STEPS], grad[STEPS];
        FOR_STEPS(t) {
            current[t] = widen(x[t * x_step + i]);
            grad[t] = widen(grad_spikes[t * grad_step + i]);
        }
        integrate(neuron, current, h);
        grad_rate += differentiate(neuron, current, h, grad);
        FOR_STEPS(t) store(grad_x + t * count + i, grad[t]);
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}

// window, where it is asked for, says where the gradient passes: all that backward needs.
KERNEL integer_forward(
    const Storage *x, Index x_step, Storage *spikes, bool *window, Index count,
    Index levels, double decay, double scale, double divisor, Index half_up
) {
    const Wide highest = (Wide)levels;
    FOR_EACH(i, count) {
        Wide left = 0;
        FOR_STEPS(t) {
            Wide h = (Wide)decay * left + (Wide)scale * widen(x[t * x_step + i]);
            Wide clipped = h < 0 ? Wide(0) : h > highest ? highest : h;
            Wide fired = half_up ? floor(clipped + Wide(0.5)) : rint(clipped);
            store(spikes + t * count + i, fired / (Wide)divisor);
            if (window)
                window[t * count + i] = half_up ? h > 0 && h < highest : h >= 0 && h <= highest;
            left = h - fired;
        }
    }
}

KERNEL integer_backward(
    const bool *window, const Storage *grad_spikes, Index grad_step, Storage *grad_x, Index count,
    double decay, double scale, double divisor
) {
    FOR_EACH(i, count) {
        Wide grad_left = 0;
        FOR_STEPS_BACKWARD(t) {
            Wide grad = widen(grad_spikes[t * grad_step + i]);
            Wide grad_h = grad * Wide(window[t * count + i]) / (Wide)divisor + grad_left;
            store(grad_x + t * count + i, (Wide)scale * grad_h);
            grad_left = (Wide)decay * grad_h;
        }
    }
}
